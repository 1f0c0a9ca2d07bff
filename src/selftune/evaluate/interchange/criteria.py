"""Graders that came from elsewhere, checked before they stand in an eval file."""

import math
from collections.abc import Iterable
from typing import Any

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.evaluate.grading import build_scorer
from selftune.evaluate.interchange.found import Row, different, name_of
from selftune.evaluate.interchange.gaps import Gaps


def checked_graders(graders: Iterable[tuple[Row, str]], gaps: Gaps) -> tuple[Row, ...]:
    """Return graders that can be built, each with a name of its own; name the others as gaps."""
    found = []
    for grader, place in graders:
        plain = {key: value for key, value in grader.items() if value is not None}
        kind = name_of(plain.get("type"), "no type")
        plain = {"type": plain.get("type"), "name": name_of(plain.get("name"), kind)} | {
            key: value for key, value in plain.items() if key not in ("type", "name")
        }
        try:
            if is_unwritable(plain):
                raise InvalidInput("It holds a null or NaN, which an eval file (TOML) cannot.")
            build_scorer(plain)
        except (InvalidInput, MissingExtra) as error:
            gaps.part(f"grader {plain['name']!r} of type {kind!r}: {error.message}", place)
            continue
        found.append(plain)
    names = different([grader["name"] for grader in found])
    return tuple({**g, "name": name} for g, name in zip(found, names, strict=True))


def without_null(words: Row, whose: str, gaps: Gaps) -> Row:
    """Return words of the chat API without those that an eval file cannot write."""
    for name in (name for name, value in words.items() if is_unwritable(value)):
        gaps.part(f"{whose}: `{name}` holds a null or NaN, which an eval file (TOML) cannot")
    return {name: value for name, value in words.items() if not is_unwritable(value)}


def is_unwritable(value: Any) -> bool:
    """Return whether a value holds what an eval file cannot: a null, or a number that is none."""
    pending = [value]
    while pending:
        each = pending.pop()
        if each is None or (isinstance(each, float) and not math.isfinite(each)):
            return True
        if isinstance(each, int) and not -(2**63) <= each < 2**63:
            return True
        if isinstance(each, dict | list | tuple):
            pending.extend(each.values() if isinstance(each, dict) else each)
    return False
