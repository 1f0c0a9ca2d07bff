"""Pass single requests on to the endpoints that answer for a model.

One attempt each: who asked this server tries again as it would with any other. An endpoint's
trouble is told in OpenAI's classes of error, without its address or the name of its key.
"""

import asyncio
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selftune.core.errors import (
    InvalidInput,
    LimitExceeded,
    NotFound,
    SelftuneError,
    TooLarge,
    Unavailable,
)
from selftune.models.answers import Question, load_json
from selftune.models.connections import Connections
from selftune.models.endpoint import (
    Endpoint,
    connection_of,
    place,
    request_address,
    sender_headers,
)
from selftune.models.endpoints import FILE, load_endpoints
from selftune.models.exchange import NoAnswer, Reply
from selftune.models.profiles import FILE as PROFILES
from selftune.models.requests import body_bytes, refusal_of
from selftune.models.route import route_to

TIMEOUT_SECONDS = 600.0
"""As long as OpenAI's clients wait."""
_OF_THIS_SERVER = (401, 403)
"""Refusals of the key: it is this server's, not the caller's."""
_log = logging.getLogger("selftune.relay")


class Relay:
    """The endpoints that a home folder names, and the connections to them."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._stamp = self._stamp_now()
        self._endpoints = load_endpoints(home)
        self._connections: dict[tuple[str, str], Connections] = {}
        self._slots: dict[tuple[str, str], asyncio.Semaphore] = {}

    def find(self, model: str) -> Endpoint | None:
        """Return the endpoint that answers for a model, or None; the file may change meanwhile."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._endpoints = load_endpoints(self._path.parent)
            except InvalidInput as error:  # callers cannot mend it, and other models answer on
                _log.error("%s What it said before goes on to hold.", error.message)
        return self._endpoints.find(model)

    async def complete(self, endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any]:
        """Return the chat completion that an endpoint answers; it has a choice with a message.

        Raises:
            InvalidInput, NotFound, TooLarge, LimitExceeded: as the endpoint says.
            Unavailable: it is down, or refuses this server's key, or talks nonsense.

        """
        sent = body_bytes(Question(key="relay", body=body), stream=False)
        connections = self._connections_to(endpoint)
        try:
            async with self._slots_of(endpoint):
                reply = await connections.post(sent, {})
        except NoAnswer as error:
            _log.warning("%s: %s", place(endpoint), error)
            raise _down(endpoint, str(error)) from error
        if reply.status != 200:
            raise _refusal(endpoint, reply)
        try:
            return _completion(load_json(reply.body))
        except ValueError as error:
            raise _down(endpoint, "What it answers is no chat completion.") from error

    async def close(self) -> None:
        """Close all connections."""
        for connections in self._connections.values():
            await connections.close()

    def _connections_to(self, endpoint: Endpoint) -> Connections:
        where = connection_of(endpoint)
        if where not in self._connections:
            try:
                sender = sender_headers(endpoint)
                route = route_to(request_address(endpoint, "chat/completions"))
            except InvalidInput as error:
                _log.warning("%s: %s", place(endpoint), error.message)
                raise _misconfigured(endpoint) from error
            headers = {
                "user-agent": f"selftune/{version('selftune')}",
                "accept": "application/json",
                "content-type": "application/json",
                **sender,
            }
            self._connections[where] = Connections(route, headers, TIMEOUT_SECONDS)
        return self._connections[where]

    def _slots_of(self, endpoint: Endpoint) -> asyncio.Semaphore:
        where = connection_of(endpoint)
        most = 1024 if endpoint.concurrency is None else endpoint.concurrency
        return self._slots.setdefault(where, asyncio.Semaphore(most))

    def _stamp_now(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp_of(path) for path in (self._path, self._path.with_name(PROFILES)))


def _stamp_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _completion(found: Any) -> dict[str, Any]:
    choices = found.get("choices") if isinstance(found, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ValueError("no choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise ValueError("a choice without a message")
    return dict(found)


def _refusal(endpoint: Endpoint, reply: Reply) -> SelftuneError:
    code, message = refusal_of(reply)
    if reply.status in _OF_THIS_SERVER or reply.status < 400:
        _log.warning("%s says %d: check its address and key", place(endpoint), reply.status)
        return _misconfigured(endpoint)
    if reply.status == 429:
        return LimitExceeded(message, code=code or "rate_limit_exceeded")
    if reply.status == 404:
        return NotFound(message, code=code or "model_not_found")
    if reply.status == 413:
        return TooLarge(message, code=code)
    if reply.status in (408, 409) or reply.status >= 500:
        _log.warning("%s says %d: %s", place(endpoint), reply.status, message)
        return _down(endpoint, message)
    return InvalidInput(message, code=code)


def _down(endpoint: Endpoint, reason: str) -> Unavailable:
    return Unavailable(
        f"The endpoint of the model {endpoint.model!r} does not answer: {reason}",
        code="server_is_overloaded",
    )


def _misconfigured(endpoint: Endpoint) -> Unavailable:
    return Unavailable(
        f"The endpoint of the model {endpoint.model!r} refuses this server: whoever runs it finds "
        f"the reason in its log, and the place to change in {FILE}.",
        code="endpoint_refuses",
    )
