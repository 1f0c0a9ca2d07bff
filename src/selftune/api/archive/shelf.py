"""An archive as the server sees it: who may read it, what it has, and words for what it lacks.

Only an index is in memory; objects are read when they are asked for. Which folder it comes from,
and how that is laid out, is not known here.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from selftune.api.archive.archive import Archive, Entry, Kind, Object, Undamaged
from selftune.core.errors import InvalidInput, NotFound, PermissionDenied, SelftuneError
from selftune.core.records import Identity
from selftune.models.listed import is_tuned

READ_ONLY = "archive_is_read_only"
_CREATED = ("created_at", "created")
_WORDS: dict[Kind, str] = {
    "file": "file",
    "job": "fine-tuning job",
    "model": "model",
    "eval": "eval",
    "eval_run": "eval run",
    "output_item": "output item",
    "batch": "batch",
    "completion": "chat completion",
}
_PLURALS: dict[Kind, str] = {
    "job_event": "events",
    "checkpoint": "checkpoints",
    "permission": "permissions",
    "output_item": "output items",
    "completion_message": "messages",
}
_AGAIN = (
    "`selftune rescue archive` into the same folder asks the source again; then start this server "
    "again."
)


class Timeline(NamedTuple):
    """The objects of a list, oldest first, and when each was made."""

    ids: tuple[str, ...]
    times: tuple[int, ...]
    """Never falling: an object that claims to be older than the one before it takes its time."""
    places: dict[str, int]


class Shelf:
    """An archive, and the project that may read it: its keys see what is theirs."""

    def __init__(self, archive: Archive, project_id: str) -> None:
        self.archive, self._project_id = Undamaged(archive), project_id
        self._timelines: dict[tuple[Kind, str | None], Timeline] = {}

    def is_open_to(self, caller: Identity | None) -> bool:
        """Return whether a caller may read it."""
        return caller is not None and caller.project_id == self._project_id

    def has(self, kind: Kind, name: str) -> bool:
        """Return whether the archive knows an id, even if only that it is gone."""
        return self.archive.get(kind, name) is not None

    def entry(self, kind: Kind, name: str, parent: str | None = None) -> Entry | None:
        """Return an entry that has its object; None where the archive never heard of the id.

        Raises:
            NotFound, PermissionDenied: the archive knows that, and why, it could not be kept.

        """
        found = self.archive.get(kind, name)
        if found is None or (parent is not None and found.parent != parent):
            return None
        if found.object is None:
            raise missing(kind, found)
        return found

    def require_whole(self, kind: Kind, parent: str) -> None:
        """Pass if a list was read to its end.

        Raises:
            NotFound, PermissionDenied: it was not; says why.

        """
        noted = self.archive.noted(kind, parent) or self.archive.noted(kind)
        if noted is None or noted.state != "kept":
            raise _not_whole(kind, parent, noted)

    def walk(
        self, kind: Kind, names: Iterable[str], wanted: Callable[[Object], bool]
    ) -> Iterator[Object]:
        """Yield the objects of some ids, those that are wanted, each read when its turn comes."""
        for name in names:
            found = self.archive.get(kind, name)
            if found is not None and found.object is not None and wanted(found.object):
                yield found.object

    def timeline(self, kind: Kind, parent: str | None) -> Timeline:
        """Return a list's ids and times; read once, then kept."""
        known = self._timelines.get((kind, parent))
        if known is None:
            known = _timeline(self.archive.list(kind, parent))
            self._timelines[kind, parent] = known
        return known

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the fine-tuned models, oldest first."""
        return tuple(name for name in self.archive.ids("model") if is_tuned(name))

    @cached_property
    def model_names(self) -> frozenset[str]:
        """Names of fine-tuned models, and of checkpoints that could be used like them."""
        told = (_told(each) for each in self.archive.list("checkpoint"))
        found = {each.get("fine_tuned_model_checkpoint") for each in told}
        return frozenset(self.models) | {name for name in found if isinstance(name, str)}


def created_of(found: Object) -> int:
    """Return when an object says that it was made; what does not say it is old."""
    times = (found.get(name) for name in _CREATED)
    return next((int(time) for time in times if isinstance(time, int | float)), 0)


def missing(kind: Kind, entry: Entry, what: str = "") -> SelftuneError:
    """Return the error for what an archive knows of and does not have."""
    day = datetime.fromtimestamp(entry.fetched_at, UTC).date()
    subject = f"{what}the {_WORDS.get(kind, kind)} {entry.id!r}"
    reason = f" ({entry.reason})" if entry.reason else ""
    if entry.state == "forbidden":
        return PermissionDenied(
            f"The archive lacks {subject}: on {day} the source did not let the key read it{reason}."
        )
    if entry.state == "deleted":
        return NotFound(
            f"The archive lacks {subject}: on {day} the source had it no more{reason}.", param="id"
        )
    return NotFound(
        f"The archive lacks {subject}: on {day} it could not be read{reason}. {_AGAIN}",
        param="id",
    )


def _not_whole(kind: Kind, parent: str, noted: Entry | None) -> SelftuneError:
    subject = f"The archive lacks {_PLURALS.get(kind, kind)} of {parent!r}"
    reason = f" ({noted.reason})" if noted is not None and noted.reason else ""
    if noted is not None and noted.state == "forbidden":
        return PermissionDenied(f"{subject}: the source did not let the key read them{reason}.")
    if noted is not None and noted.state == "deleted":
        return NotFound(f"{subject}: the source had none of them any more{reason}.")
    return NotFound(f"{subject}: they were not read to the end{reason}. {_AGAIN}")


def read_only(kind: Kind, name: str) -> InvalidInput:
    """Return the error for a change to what is archived."""
    return InvalidInput(
        f"The {_WORDS.get(kind, kind)} {name!r} is in an archive, which is read-only: it can be "
        "neither changed nor deleted here.",
        code=READ_ONLY,
        param="id",
    )


def unreplaced(name: str) -> NotFound:
    """Return the error for a question to an archived model that nothing here replaces.

    It begins with the words that programs match on.
    """
    return NotFound(
        f"The model `{name}` does not exist or you do not have access to it. The archive has its "
        "name and its jobs, but nobody can download the weights of a hosted model. `selftune "
        "rescue retrain` makes a replacement that answers to this name.",
        code="model_not_found",
    )


def _timeline(entries: Iterable[Entry]) -> Timeline:
    ids, times = [], []
    latest = 0
    for entry in entries:
        if entry.object is None:
            continue
        latest = max(latest, created_of(entry.object))
        ids.append(entry.id)
        times.append(latest)
    return Timeline(tuple(ids), tuple(times), {name: place for place, name in enumerate(ids)})


def _told(entry: Entry) -> Object:
    return entry.object if isinstance(entry.object, dict) else {}
