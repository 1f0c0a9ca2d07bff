"""Errors -> HTTP status and OpenAI's envelope; each class of error knows its status."""

import logging
from http import HTTPStatus
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from selftune.core.errors import SelftuneError

RETRY_SECONDS = 1
_log = logging.getLogger("selftune.api")


def envelope(
    message: str, kind: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the body that OpenAI's clients read."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: SelftuneError) -> Response:
    """Return the answer for an error that was raised on purpose."""
    headers = {"retry-after": str(RETRY_SECONDS)} if error.status in (429, 503) else {}
    return _json(error_body(error), error.status, headers)


def error_body(error: SelftuneError) -> dict[str, Any]:
    """Return the body for an error that was raised on purpose."""
    kind = "requests" if error.status == 429 else "invalid_request_error"
    if error.status >= 500:
        kind = "server_error"
    return envelope(error.message, kind, param=error.param, code=error.code)


def crash_response() -> Response:
    """Return the answer for an error that nobody expected."""
    return _json(crash_body(), 500, {})


def crash_body() -> dict[str, Any]:
    """Return the body for an error that nobody expected; it says nothing of the inside."""
    message = "The server had an error while processing your request. Sorry about that!"
    return envelope(message, "server_error")


def install(app: Starlette) -> None:
    """Answer every error in the envelope, those of the framework too."""

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, SelftuneError)
        return error_response(error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        message = f"{phrase}: {request.method} {request.url.path}"
        if error.status_code == 404:
            message = f"Invalid URL ({request.method} {request.url.path})"
        body = envelope(message, "invalid_request_error")
        return _json(body, error.status_code, dict(error.headers or {}))

    app.add_exception_handler(SelftuneError, ours)
    app.add_exception_handler(HTTPException, framework)


def log_crash() -> None:
    """Write the current exception to the log."""
    _log.exception("a request failed")


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
