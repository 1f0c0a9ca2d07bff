"""The bytes of a question, and what the words and headers of a refusal say."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import orjson

from selftune.models.answers import Question, load_json
from selftune.models.exchange import Reply
from selftune.models.messages import whole_text

_LONGEST_REASON = 500


def body_bytes(asked: Question, *, stream: bool) -> bytes:
    """Return the JSON of a question; halves of surrogate pairs become U+FFFD."""
    body = asked.body
    if stream:
        body = body | {"stream": True, "stream_options": {"include_usage": True}}
    try:
        return orjson.dumps(body)
    except TypeError:  # half a pair, or a number of more than 64 bits
        return whole_text(json.dumps(body, ensure_ascii=False)).encode()


def refusal_of(reply: Reply) -> tuple[str | None, str]:
    """Return the code and the words of an error; for what is no error of the API, its beginning."""
    try:
        body = load_json(reply.body)
    except ValueError:
        body = None
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        code = error.get("code")
        return (code if isinstance(code, str) else None), error["message"]
    if isinstance(error, str):
        return None, error
    text = reply.body[:_LONGEST_REASON].decode("utf-8", errors="replace").strip()
    return None, text or _phrase(reply.status)


def asked_wait(headers: Mapping[bytes, bytes]) -> float:
    """Return the seconds that the endpoint asks to wait for (RFC 9110, 10.2.3), or 0."""
    for header, divisor in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        try:
            return max(0.0, float(headers[header]) / divisor)
        except (KeyError, ValueError):
            continue
    try:
        until = parsedate_to_datetime(headers[b"retry-after"].decode("latin-1"))
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (KeyError, ValueError, TypeError):
        return 0.0


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"
