"""Which create this is: its fingerprint, and whether it says that it is a repeat."""

from starlette.requests import Request

from selftune.api.context import identity, is_count
from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.store.creations import Creation

_MOST_KEY = 255


def creation_of(request: Request, content: object) -> Creation:
    """Return the create that a request asks for; `content` is all that makes it this one."""
    retry = request.headers.get("x-stainless-retry-count", "0")
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= _MOST_KEY:
        raise InvalidInput(f"Idempotency-Key must have 1 to {_MOST_KEY} characters.")
    return Creation(
        project_id=identity(request).project_id,
        fingerprint=fingerprint([request.method, request.url.path, content]),
        is_retry=is_count(retry) and int(retry) > 0,
        idempotency_key=key,
    )
