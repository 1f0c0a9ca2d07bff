"""Server-sent events as OpenAI's clients read them."""

import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Any, TypeVar

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from selftune.api.errors import crash_body, error_body, log_crash
from selftune.core.errors import SelftuneError

Body = AsyncGenerator[bytes, None]
T = TypeVar("T")


def stream(chunks: AsyncGenerator[dict[str, Any], None]) -> StreamingResponse:
    """Return a stream of JSON chunks that ends with `[DONE]`, or with an error in its place."""

    async def body() -> Body:
        async with contextlib.aclosing(chunks):
            try:
                async for chunk in chunks:
                    yield b"data: " + orjson.dumps(chunk) + b"\n\n"
            except SelftuneError as error:
                yield b"data: " + orjson.dumps(error_body(error)) + b"\n\n"
            except Exception:  # noqa: BLE001 - the headers are sent: this is all that can be said
                log_crash()
                yield b"data: " + orjson.dumps(crash_body()) + b"\n\n"
            else:
                yield b"data: [DONE]\n\n"

    return _Streaming(body())


def stream_events(events: AsyncGenerator[dict[str, Any], None]) -> StreamingResponse:
    """Return a stream of events that have a type; the last one says that it is the last."""

    async def body() -> Body:
        async with contextlib.aclosing(events):
            async for event in events:
                yield b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))

    return _Streaming(body())


async def each(found: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield what is there already."""
    for one in found:
        yield one


class _Streaming(StreamingResponse):
    """Ends its work when the caller goes."""

    def __init__(self, body: Body) -> None:
        headers = {"cache-control": "no-cache"}
        super().__init__(body, media_type="text/event-stream", headers=headers)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._body):
            await super().__call__(scope, receive, send)
