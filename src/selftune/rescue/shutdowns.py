"""When a provider ends what: what it says of a model itself, else the dated table beside this file.

The table is OpenAI's. Of other providers nothing is assumed: only what they say themselves.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from selftune.core.records import Record
from selftune.models.catalog import catalog
from selftune.models.listed import end_of
from selftune.rescue.archive.format import Kind


class Feature(Record):
    """A part of the API that ends."""

    kinds: tuple[Kind, ...]
    date: date
    says: str


class Bases(Record):
    """Bases that end on one day, with what was trained from them."""

    ids: tuple[str, ...]
    date: date


class Retention(Record):
    """For how long something is kept after it was made."""

    completion_days: int
    says: str


class Shutdowns(Record):
    """The whole table."""

    source: str
    read: date
    feature: tuple[Feature, ...]
    base: tuple[Bases, ...]
    retention: Retention


class End(Record):
    """A day, and who says so; no day means that none is announced."""

    on: date | None = None
    why: str = "no date is announced"


class Calendar:
    """Knows the ends of one provider's things."""

    def __init__(self, provider: str, today: date) -> None:
        self._today = today
        self._table = shutdowns() if provider == "openai" else None

    def of_kind(self, kind: Kind) -> End:
        """Return when a part of the API ends."""
        for feature in self._table.feature if self._table else ():
            if kind in feature.kinds:
                return End(on=feature.date, why=feature.says)
        return End()

    def of_model(self, base: str, listed: Mapping[str, Any] | None = None) -> End:
        """Return when a model ends; `listed` is what the provider's list of models says of it."""
        said = None if listed is None else end_of(listed)
        if said is not None:
            return End(on=said, why="/v1/models says so")
        if self._table is None:
            return End()
        known = {each: one.date for one in self._table.base for each in one.ids}
        known |= {
            alias.id: date.fromisoformat(alias.shutdown_date)
            for alias in catalog().alias
            if alias.shutdown_date is not None
        }
        found = known.get(catalog().snapshot(base))
        return End() if found is None else End(on=found, why="fine-tunes end with their base")

    def of_expiry(self, expires_at: int) -> End:
        """Return when a file ends that says so itself."""
        return End(on=datetime.fromtimestamp(expires_at, UTC).date(), why="it expires")

    def of_completion(self, created_at: int | None) -> End:
        """Return when a stored completion is dropped."""
        if self._table is None or created_at is None:
            return End()
        kept = self._table.retention
        over = datetime.fromtimestamp(created_at, UTC).date() + timedelta(kept.completion_days)
        if over < self._today:  # it is there all the same
            return End(why=f"kept for longer than the usual {kept.completion_days} days")
        return End(on=over, why=kept.says)


@cache
def shutdowns() -> Shutdowns:
    """Return the table."""
    text = files("selftune.rescue").joinpath("shutdowns.toml").read_text(encoding="utf-8")
    return Shutdowns.model_validate(tomllib.loads(text))
