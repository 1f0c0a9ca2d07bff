"""Archived objects as JSON again."""

import json
from typing import Any

import orjson
from starlette.responses import Response


def written(value: Any) -> Response:
    """Return JSON of what another server answered, which may be more than UTF-8 can say."""
    try:
        body = orjson.dumps(value)
    except orjson.JSONEncodeError:  # a half of a character, or a number that is too large
        body = json.dumps(value).encode()
    return Response(body, media_type="application/json")
