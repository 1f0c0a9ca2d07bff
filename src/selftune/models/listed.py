"""What a provider's list of models says of one: whether it was tuned, from which base, when it ends.

    ft:BASE:ORGANISATION:SUFFIX:ID[:ckpt-step-N]    OpenAI, and this server
    BASE.ft-ID[-SUFFIX][:ckpt-step-N]               Azure

Whichever model a job went on from, the name has the base that all began with. OpenAI gives the end of
a model as `shutdown_date`; Azure's dated API as `deprecation`, in seconds: `inference` is when a model
answers no more, for tuned ones another day than for their base (REST reference, 2024-10-21).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

_LATEST = 253_402_300_799
"""The last second of the year 9999: a later one is no time, but milliseconds, or nonsense."""


def is_tuned(name: str) -> bool:
    """Return whether a name is that of a tuned model, or of a checkpoint."""
    return name.startswith("ft:") or ".ft-" in name


def base_of(name: str) -> str:
    """Return the base that a tuned model comes from in the end; of a base, its own name."""
    return name.split(":")[1] if name.startswith("ft:") else name.partition(".ft-")[0]


def end_of(model: Mapping[str, Any]) -> date | None:
    """Return the day on which a model ends, where the provider says one."""
    deprecation = model.get("deprecation")
    seconds = deprecation.get("inference") if isinstance(deprecation, Mapping) else None
    return _day(model.get("shutdown_date")) or _day(seconds)


def time_of(value: object) -> int | None:
    """Return a provider's time in seconds; None for what is none."""
    return int(value) if isinstance(value, int | float) and 0 <= value <= _LATEST else None


def _day(value: object) -> date | None:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).date()
        except ValueError:
            return None
    seconds = time_of(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date()
