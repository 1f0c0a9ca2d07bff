"""What an account has, and which of it ends when: sorted by the days that are left.

The API does not tell who uses a model. What is said of use is the newest trace of it in what the
account has stored: a completion, an eval run, a batch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from selftune.core.records import Record
from selftune.rescue.archive.format import KINDS, NAMES, Kind, Source
from selftune.rescue.shutdowns import Calendar, shutdowns

Object = dict[str, Any]
_OWN_NAMES: dict[tuple[Kind, str | None], str] = {
    ("model", None): "tuned models",
    ("file", "fine-tune-results"): "result files",
}
_MOST_REFUSED = 20
T = TypeVar("T", "Thing", "Group")


@dataclass
class Found:
    """What the source answered."""

    models: list[Object] = field(default_factory=list)
    jobs: list[Object] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    """How many, by job."""
    checkpoints: dict[str, list[Object]] = field(default_factory=dict)
    """By job."""
    files: list[Object] = field(default_factory=list)
    evals: list[Object] = field(default_factory=list)
    runs: list[Object] = field(default_factory=list)
    batches: list[Object] = field(default_factory=list)
    completions: list[Object] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Lists that could not be read, and why."""
    lacking: list[str] = field(default_factory=list)
    """Those of them that the provider does not have."""
    is_whole: bool = True
    """False where asking again may find more."""


class Thing(Record):
    """One thing that the account has."""

    kind: Kind
    id: str
    name: str = ""
    parent: str | None = None
    purpose: str | None = None
    """Of a file."""
    status: str | None = None
    created_at: int | None = None
    bytes: int | None = None
    ends_on: date | None = None
    days_left: int | None = None
    """Negative where the day is over; None where no day is announced."""
    why: str
    """Who says when it ends."""
    used: tuple[str, ...] = ()
    """The newest of what names it, newest first; nothing is no proof that nobody uses it."""
    uses: int = 0
    """How many name it, all together."""
    problems: tuple[str, ...] = ()


class Group(Record):
    """Everything of one kind."""

    kind: Kind
    name: str
    count: int
    first: int
    """How many of them end on the first day."""
    bytes: int | None = None
    ends_on: date | None = None
    """When the first of them ends."""
    days_left: int | None = None
    why: str


class Inventory(Record):
    """What an account has."""

    source: Source
    today: date
    groups: tuple[Group, ...]
    things: tuple[Thing, ...]
    """All but events and output items, which are counted in `groups`."""
    notes: tuple[str, ...]

    @property
    def models(self) -> tuple[Thing, ...]:
        """The account's own models."""
        return tuple(thing for thing in self.things if thing.kind == "model")

    @property
    def problems(self) -> tuple[tuple[Thing, str], ...]:
        """What is missing, with whose it is; of models first."""
        others = tuple(thing for thing in self.things if thing.kind != "model")
        return tuple((one, said) for one in (*self.models, *others) for said in one.problems)


def take_stock(found: Found, source: Source, today: date) -> Inventory:
    """Return the inventory of what was found."""
    from selftune.rescue.inventory_things import things_of

    calendar = Calendar(source.kind, today)
    things = [_with_days(thing, today) for thing in things_of(found, calendar)]
    things.sort(key=_urgency)
    groups = [*_groups(things), *_counted(found, calendar)]
    groups = [_with_days(group, today) for group in groups if group.count]
    groups.sort(key=_urgency)
    return Inventory(
        source=source,
        today=today,
        groups=tuple(groups),
        things=tuple(things),
        notes=tuple(_notes(found, source)),
    )


def day_of(seconds: int) -> str:
    """Return a time as its day."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def left(days: int | None) -> str:
    """Return the days that are left, in words that fit into a table."""
    if days is None:
        return "-"
    return "over" if days < 0 else str(days)


def counted(count: int, name: str) -> str:
    """Return how many there are, in words."""
    if count == 1:
        name = name.replace("batches", "batch").removesuffix("s")
    return f"{count:,} {name}"


def _urgency(one: Thing | Group) -> tuple[int, int, int]:
    days = 10**9 if one.days_left is None else one.days_left
    made = one.created_at if isinstance(one, Thing) else 0
    return days, KINDS.index(one.kind), made or 0


def _with_days(one: T, today: date) -> T:
    days = None if one.ends_on is None else (one.ends_on - today).days
    return one.model_copy(update={"days_left": days})


def _groups(things: list[Thing]) -> Iterator[Group]:
    """Yield the things by kind; they are sorted, so the first of a group ends first."""
    found: dict[tuple[Kind, str], list[Thing]] = {}
    for thing in things:
        name = _OWN_NAMES.get((thing.kind, thing.purpose), NAMES[thing.kind])
        found.setdefault((thing.kind, name), []).append(thing)
    for (kind, name), own in found.items():
        sizes = [thing.bytes for thing in own if thing.bytes is not None]
        first = [thing for thing in own if thing.ends_on == own[0].ends_on]
        rest = f" ({len(first)} of them on this day)" if len(first) < len(own) else ""
        yield Group(
            kind=kind,
            name=name,
            count=len(own),
            first=len(first),
            bytes=sum(sizes) if sizes else None,
            ends_on=own[0].ends_on,
            why=own[0].why + rest,
        )


def _counted(found: Found, calendar: Calendar) -> Iterator[Group]:
    """Yield what is counted, and not named one by one."""
    counts: dict[Kind, int] = {
        "output_item": sum(_items(run) for run in found.runs),
        "job_event": sum(found.events.values()),
    }
    for kind, count in counts.items():
        end = calendar.of_kind(kind)
        yield Group(
            kind=kind, name=NAMES[kind], count=count, first=count, ends_on=end.on, why=end.why
        )


def _items(run: Object) -> int:
    counts = run.get("result_counts")
    total = counts.get("total") if isinstance(counts, dict) else None
    return total if isinstance(total, int) else 0


def _notes(found: Found, source: Source) -> Iterable[str]:
    refused = [each for each in found.refused.items() if each[0] not in found.lacking]
    shown = refused[:_MOST_REFUSED]
    yield from (f"{what} could not be read: {why}" for what, why in shown)
    if len(shown) < len(refused):
        yield f"{len(refused) - len(shown)} more lists could not be read."
    if found.lacking:
        yield f"{source.base_url} has no list of {', none of '.join(found.lacking)}."
    if source.kind == "openai":
        table = shutdowns()
        yield f"Dates that /v1/models does not say are those of {table.source}, read on {table.read}."
    else:
        yield f"Only dates that {source.base_url} says itself are shown: ask your provider for others."
    yield (
        "The API does not say who uses a model. What is said here of use is the newest trace in "
        "stored completions, eval runs and batches; no trace is no proof."
    )
    yield "Responses, and completions that were not stored, cannot be listed."
    yield "This was tried against a server that plays OpenAI, not against the real service."
