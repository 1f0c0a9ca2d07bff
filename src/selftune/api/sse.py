"""Server-sent events as OpenAI's clients read them."""

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.responses import StreamingResponse


def stream(chunks: Iterable[dict[str, Any]]) -> StreamingResponse:
    """Return a stream of JSON chunks that ends with `[DONE]`."""

    async def body() -> Any:
        for chunk in chunks:
            yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        yield b"data: [DONE]\n\n"

    headers = {"cache-control": "no-cache"}
    return StreamingResponse(body(), media_type="text/event-stream", headers=headers)
