"""Ask the application below: for the caller, or for nobody but the comparison."""

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selftune.api.upstream.hearing import Hearing
from selftune.models.noted import Heard

_LIKE_THE_CALLERS = (
    "type",
    "app",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "root_path",
)
_log = logging.getLogger("selftune.upstream")


class Held:
    """What sends an answer that may be taken back as long as it is a refusal."""

    def __init__(self, send: Send, refused: "range | frozenset[int]") -> None:
        self.refusal: int | None = None
        """Status of the refusal that was not sent."""
        self.has_begun = False
        self._send, self._refused = send, refused

    async def send(self, message: Message) -> None:
        """Send, or hold back."""
        if message["type"] == "http.response.start":
            if message["status"] in self._refused:
                self.refusal = message["status"]
            self.has_begun = True
        if self.refusal is None:
            await self._send(message)


async def attempt(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, timeout_seconds: float
) -> str | None:
    """Let the application answer; return why it did not, where nothing has been sent.

    Raises:
        ClientDisconnect: the caller has gone.

    """
    held = Held(send, range(400, 600))
    try:
        async with asyncio.timeout(timeout_seconds) as limit:

            async def begin(message: Message) -> None:
                limit.reschedule(None)  # from its first word on it may take its time
                await held.send(message)

            await app(dict(scope), receive, begin)
    except TimeoutError:
        if held.has_begun:
            raise
        return f"it says nothing for {timeout_seconds:g} seconds"
    except ClientDisconnect:
        raise
    except Exception as error:
        if held.has_begun and held.refusal is None:
            raise
        _log.exception("the replacement failed")
        return f"it failed: {type(error).__name__}"
    return None if held.refusal is None else f"it says {held.refusal}"


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then what comes after it."""
    todo = [body]

    async def again() -> Message:
        if todo:
            return {"type": "http.request", "body": todo.pop(), "more_body": False}
        return await receive()

    return again


async def ask(app: ASGIApp, scope: Scope, body: bytes, model: str) -> Heard | None:
    """Return what the application answers to a request like the caller's, which nobody reads."""
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    asked: dict[str, Any] = {name: scope[name] for name in _LIKE_THE_CALLERS if name in scope}
    asked |= {name: value for name, value in scope.items() if name.startswith("selftune.")}
    asked |= {"query_string": b"", "headers": headers, "client": None, "server": None}
    hearing = Hearing()

    async def forget(_message: MutableMapping[str, Any]) -> None:
        return

    async def stay() -> Message:
        return await asyncio.Future()  # who asks stays until the answer is there

    await app(asked, replayed(body, stay), hearing.listen(forget))
    return hearing.told("replacement", model)
