"""Read a caller's request: whole where it decides, else while it comes; and put it as it goes on."""

import re
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from selftune.core.errors import InvalidInput, NotFound
from selftune.models.forward import Outgoing

_UPWARDS = re.compile(r"[/\\]\.\.?(?:[/\\;]|$)")
"""What would leave the account's own address; some servers read a backslash as a slash, and cut what
follows a semicolon."""
_UNWRITABLE = re.compile(rb"[^!-~]")
"""What would end a request's first line, or make it another."""


def outgoing_of(
    scope: Scope,
    body: bytes | AsyncIterator[bytes],
    model: str | None = None,
    *,
    is_heard: bool = False,
) -> Outgoing:
    """Return a request as it goes on; where the answer `is_heard`, it may not be compressed.

    Raises:
        NotFound, InvalidInput: its address cannot be passed on.

    """
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.removeprefix(b"/v1")
    path = path if path.startswith(b"/") else b"/" + path
    if path == raw or _UPWARDS.search(scope["path"]):
        raise NotFound(f"Invalid URL ({scope['method']} {scope['path']})")
    if _UNWRITABLE.search(path) or _UNWRITABLE.search(scope["query_string"]):
        raise InvalidInput("The address has characters that must be written as %XX.")
    headers = list(scope["headers"])
    if is_heard:  # what is compressed could not be told of
        headers = [pair for pair in headers if pair[0] != b"accept-encoding"]
        headers.append((b"accept-encoding", b"identity"))
    return Outgoing(scope["method"], path, scope["query_string"], headers, body, model)


def is_form(scope: Scope) -> bool:
    """Return whether a request's body is a form, which may hold a large file."""
    kind: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return kind.startswith(b"multipart/form-data")


async def body_of(receive: Receive) -> bytes:
    """Return a whole body; the gate has limited it.

    Raises:
        ClientDisconnect: the caller has gone.

    """
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def rest_of(first: Message, receive: Receive) -> AsyncIterator[bytes]:
    """Yield a body that began with a message, while it comes."""
    message = first
    while True:
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body", False):
            return
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
