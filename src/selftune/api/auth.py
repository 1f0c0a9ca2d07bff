"""A bearer key -> who is calling."""

import time
from collections.abc import Iterable

from selftune.core.errors import AuthenticationFailed
from selftune.core.records import Identity
from selftune.store.accounts import identify
from selftune.store.store import Store

REMEMBERED_SECONDS = 10.0
"""A revoked key stops working within this time."""
_MOST_REMEMBERED = 10_000


class Authenticator:
    """Checks keys, remembering good ones for a moment."""

    def __init__(self, store: Store, everybody: Identity | None = None) -> None:
        """Take keys, unless everybody is the same caller."""
        self._store = store
        self._known: dict[str, tuple[float, Identity]] = {}
        self._open = everybody

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Identity:
        """Return the caller.

        Raises:
            AuthenticationFailed: no key, an unknown one, or one of another organisation or project.

        """
        if self._open is not None:
            return self._open
        found = {name: value.decode("latin-1") for name, value in headers}
        kind, _, secret = found.get(b"authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise AuthenticationFailed(
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            )
        caller = self._lookup(secret.strip())
        self._check_scope(caller, found)
        return caller

    def _lookup(self, secret: str) -> Identity:
        now = time.monotonic()
        remembered = self._known.get(secret)
        if remembered is not None and now - remembered[0] < REMEMBERED_SECONDS:
            return remembered[1]
        caller = identify(self._store, secret)
        if caller is None:
            self._known.pop(secret, None)
            shown = f"{secret[:4]}…{secret[-4:]}" if len(secret) > 12 else "…"
            raise AuthenticationFailed(
                f"Incorrect API key provided: {shown}. Make one with `selftune keys create`.",
                code="invalid_api_key",
            )
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[secret] = (now, caller)
        return caller

    def _check_scope(self, caller: Identity, headers: dict[bytes, str]) -> None:
        organization = headers.get(b"openai-organization")
        if organization and organization not in (caller.organization_id, caller.organization):
            raise AuthenticationFailed(
                f"OpenAI-Organization header should match organization for API key: {organization}",
                code="mismatched_organization",
            )
        project = headers.get(b"openai-project")
        if project and project != caller.project_id:
            raise AuthenticationFailed(
                f"OpenAI-Project header should match project for API key: {project}",
                code="mismatched_project",
            )
