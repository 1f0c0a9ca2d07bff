"""The account upstream that the settings name."""

from pathlib import Path
from typing import NamedTuple

from selftune.models.profiles import Profile, find_profile, need_key
from selftune.store.store import Store


class Upstream(NamedTuple):
    """An account to pass requests on to."""

    profile: Profile
    recorder: Path | None = None
    """Socket of the process that records and compares; None where nobody is told."""
    records: bool = False
    """Whether requests and answers are kept."""


def named_upstream(store: Store) -> Upstream | None:
    """Return the account of the setting `upstream`; None where none is named.

    Raises:
        NotFound: there is no such profile.
        InvalidInput: it has no key.

    """
    name = store.settings.upstream
    if not name:
        return None
    profile = find_profile(store.root, name)
    need_key(profile)
    return Upstream(profile)
