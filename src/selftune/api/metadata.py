"""The pairs that a caller attaches to an object, and finds it by."""

import re
from typing import Annotated

from pydantic import Field
from starlette.requests import Request

from selftune.api.context import Storable

_PAIR = re.compile(r"metadata\[(.{1,64})\]")
_Key = Annotated[Storable, Field(max_length=64)]
_Value = Annotated[Storable, Field(max_length=512)]
Metadata = Annotated[dict[_Key, _Value], Field(max_length=16)]
"""At most 16 pairs of texts."""


def wanted_metadata(request: Request) -> dict[str, str]:
    """Return the pairs `metadata[key]=value` of a query."""
    return {
        match[1]: value
        for name, value in request.query_params.items()
        if (match := _PAIR.fullmatch(name))
    }
