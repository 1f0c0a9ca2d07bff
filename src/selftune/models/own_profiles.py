"""Change a home folder's `profiles.toml`: whole or not at all, and only to what is valid."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from selftune.core.errors import InvalidInput
from selftune.models.profiles import FILE, Profile, Profiles, load_profiles
from selftune.store.whole_files import alone, write_whole


def add_profile(home: Path, name: str, entry: dict[str, Any]) -> Profile:
    """Put a profile into the home's file, or change what is given of one; return it as it is now.

    Raises:
        InvalidInput: a value breaks a rule, or the file was wrong before.
        Unavailable: the file cannot be written.

    """
    with alone(home / FILE):
        return _add(home, name, entry)


def _add(home: Path, name: str, entry: dict[str, Any]) -> Profile:
    load_profiles(home)
    path = home / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    document = tomllib.loads(text)
    tables = document.setdefault("profile", {})
    own = {"kind": "openai"} if name == "openai" else {}
    given = {key: value for key, value in entry.items() if value is not None}
    tables[name] = own | tables.get(name, {}) | given
    try:
        found = Profiles.model_validate(document).profile[name]
    except ValidationError as problem:
        first = problem.errors()[0]
        rule = first["msg"].removeprefix("Value error, ").rstrip(".")
        key = str(first["loc"][-1])
        if key == name:  # it is a rule for all of it
            raise InvalidInput(f"The profile {name!r}: {rule}.") from None
        raise InvalidInput(f"{key}: {rule}.", param=key) from None
    write_whole(path, tomli_w.dumps(document).encode())
    return found
