"""How long a training on your own machine may take, from measurements in `trainings.toml`.

Rough on purpose: seconds grow with tokens between the slowest and the fastest that were measured.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

from selftune.core.records import Record

Answers = Literal["labels", "numbers", "texts"]
_START_SECONDS = 10.0
"""To start a process, load torch and the encoder, and write the model: what small files show."""


class Measured(Record):
    """One training that was timed."""

    base: str
    answers: Answers
    rows: int
    tokens: int
    epochs: int | None = None
    """Asked for; None where `auto` chose."""
    least_tokens: int = 0
    most_tokens: int | None = None
    seconds: tuple[float, float]
    """The fastest and the slowest run."""
    megabytes: int | None = None
    """Peak of resident memory; None where it was not measured."""
    source: str


class Trainings(Record):
    """Every measurement."""

    training: tuple[Measured, ...]


class Duration(Record):
    """How long a training may take on two cores."""

    fastest_seconds: float
    slowest_seconds: float
    megabytes: int | None
    """The largest peak of memory that was measured; None is unknown."""
    sources: tuple[str, ...]


@cache
def trainings() -> Trainings:
    """Return the measurements that ship with this package."""
    text = files("selftune.models").joinpath("trainings.toml").read_text(encoding="utf-8")
    return Trainings.model_validate(tomllib.loads(text))


def duration(
    base: str, answers: Answers, tokens: int, epochs: int | None = None
) -> Duration | None:
    """Return how long a training may take, or None where nothing like it was measured.

    Seconds are tokens times the least and the greatest seconds per token among the measurements of
    the same base, kind of answers and size, and ten seconds to start. With `epochs` asked for they
    grow with those too.
    """
    alike = [one for one in trainings().training if one.base == base and one.answers == answers]
    asked = [one for one in alike if one.epochs is not None]
    if epochs is None or not asked:
        asked = [one for one in alike if one.epochs is None]
    found = [one for one in asked if _speaks_for(one, tokens)]
    if not found:
        return None
    rates = [
        seconds / one.tokens * (epochs / one.epochs if epochs and one.epochs else 1)
        for one in found
        for seconds in one.seconds
    ]
    return Duration(
        fastest_seconds=_START_SECONDS + min(rates) * tokens,
        slowest_seconds=_START_SECONDS + max(rates) * tokens,
        megabytes=max((one.megabytes for one in found if one.megabytes), default=None),
        sources=tuple(one.source for one in found),
    )


def _speaks_for(one: Measured, tokens: int) -> bool:
    return one.least_tokens <= tokens and (one.most_tokens is None or tokens <= one.most_tokens)
