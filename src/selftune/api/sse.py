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

    return _streaming(body())


def stream_events(events: Iterable[dict[str, Any]]) -> StreamingResponse:
    """Return a stream of events that have a type; the last one says that it is the last."""

    async def body() -> Any:
        for event in events:
            yield b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))

    return _streaming(body())


def _streaming(body: Any) -> StreamingResponse:
    headers = {"cache-control": "no-cache"}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)
