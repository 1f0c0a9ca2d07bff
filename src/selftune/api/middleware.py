"""What happens to every request: its id, who calls, how much they may, how large it may be.

Plain ASGI, one layer: a stack of framework middlewares costs more than most handlers.
"""

import re
import secrets
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selftune.api.auth import Authenticator
from selftune.api.errors import crash_response, error_response, log_crash
from selftune.core.errors import (
    InvalidInput,
    LimitExceeded,
    NotFound,
    SelftuneError,
    TooLarge,
)
from selftune.core.records import Identity
from selftune.store.store import Store

_MISSING_SLASH = re.compile(r"^/v1(?=[a-z])")
_OPEN_PATHS = frozenset({"/", "/health"})
_WITH_OWN_KEY = "/evaluations/"
"""Pages for browsers, which send no API key: the address has a key of its own."""
_WINDOW_SECONDS = 60.0
IS_PASSED = "selftune.is_passed"
"""Of a request whose answer has the headers of another server, which must not be said twice."""
VERSION = b"2020-10-01"


class Gate:
    """The one middleware."""

    def __init__(self, app: ASGIApp, store: Store, authenticator: Authenticator) -> None:
        self._app, self._settings = app, store.settings
        self._authenticator = authenticator
        self._limits = Limits(store.settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope["path"] = _MISSING_SLASH.sub("/v1/", scope["path"])
        scope["selftune.request_id"] = f"req_{secrets.token_hex(16)}"
        headers: list[tuple[bytes, bytes]] = [
            (b"x-request-id", scope["selftune.request_id"].encode()),
            (b"openai-version", VERSION),
        ]
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if IS_PASSED in scope:
                    await send(message)
                    return
                spent = f"{(time.perf_counter() - started) * 1000:.0f}".encode()
                message["headers"] = [
                    *message.get("headers", ()),
                    *headers,
                    (b"openai-processing-ms", spent),
                ]
            await send(message)

        try:
            headers += self._admit(scope)
            _refuse_nul(scope)
            limited = _Limited(scope, receive, self._settings.max_body_bytes)
            await self._app(scope, limited, send_with_headers)
        except SelftuneError as error:
            await error_response(error)(scope, receive, send_with_headers)
        except ClientDisconnect:  # nobody is left to answer
            return
        except Exception:
            log_crash()
            if begun:
                raise
            await crash_response()(scope, receive, send_with_headers)

    def _admit(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Check the key and the rate; return headers that say what is left."""
        if scope["path"] in _OPEN_PATHS or scope["path"].startswith(_WITH_OWN_KEY):
            return []
        caller = self._authenticator.identify(scope["headers"])
        scope["selftune.identity"] = caller
        return [
            (b"openai-organization", caller.organization.encode()),
            *self._limits.take(caller),
        ]


class Limits:
    """Requests in a minute, counted for each project."""

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, caller: Identity) -> list[tuple[bytes, bytes]]:
        """Count one request; return the headers.

        Raises:
            LimitExceeded: the project has used its minute.

        """
        now = time.monotonic()
        began, used = self._windows.get(caller.project_id, (now, 0))
        if now - began >= _WINDOW_SECONDS:
            began, used = now, 0
        if used >= self._most:
            left = _WINDOW_SECONDS - (now - began)
            raise LimitExceeded(
                f"Rate limit reached for requests per min (RPM): Limit {self._most}, Used {used}. "
                f"Please try again in {left:.0f}s.",
                code="rate_limit_exceeded",
            )
        self._windows[caller.project_id] = (began, used + 1)
        reset = f"{_WINDOW_SECONDS - (now - began):.0f}s".encode()
        return [
            (b"x-ratelimit-limit-requests", str(self._most).encode()),
            (b"x-ratelimit-remaining-requests", str(self._most - used - 1).encode()),
            (b"x-ratelimit-reset-requests", reset),
        ]


class _Limited:
    """Counts a body as it arrives; uploads have a limit of their own."""

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._receive, self._most, self._count = receive, most, 0
        headers = dict(scope["headers"])
        self._is_upload = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        length = headers.get(b"content-length", b"0")
        if not self._is_upload and length.isdigit() and int(length) > most:
            raise _too_large(most)

    async def __call__(self) -> dict[str, Any]:
        message = await self._receive()
        if not self._is_upload and message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            if self._count > self._most:
                raise _too_large(self._most)
        return dict(message)


def _refuse_nul(scope: Scope) -> None:
    """Refuse what no database can look up; nothing has such a name."""
    if "\0" in scope["path"]:
        raise NotFound("Invalid URL: it has a NUL character.")
    if b"%00" in scope["query_string"]:
        raise InvalidInput("Invalid query: it has a NUL character, leave it out.")


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"The request body is larger than {most} bytes: send large data as a file.",
        code="request_too_large",
    )
