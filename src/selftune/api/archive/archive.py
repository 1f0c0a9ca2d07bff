"""What an archive must offer to be served; `rescue/archive` has one, and above decides which."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from selftune.core.errors import InvalidInput, SelftuneError

Kind = Literal[
    "file",
    "job",
    "job_event",
    "checkpoint",
    "permission",
    "model",
    "eval",
    "eval_run",
    "output_item",
    "batch",
    "completion",
    "completion_message",
]
Object = dict[str, Any]


class Entry(Protocol):
    """What an archive knows of one id."""

    @property
    def id(self) -> str:
        """Its id at the source."""

    @property
    def parent(self) -> str | None:
        """Id of what it belongs to."""

    @property
    def state(self) -> str:
        """`kept`, or why something of it is missing: `deleted`, `forbidden` or `failed`."""

    @property
    def reason(self) -> str | None:
        """In the source's words."""

    @property
    def fetched_at(self) -> int:
        """When the source was asked, in Unix seconds."""

    @property
    def object(self) -> Any:
        """As the source answered it; None if it answered nothing."""

    @property
    def blob(self) -> str | None:
        """SHA-256 of a file's content."""


class Archive(Protocol):
    """An archive that is open for reading; threads may share it."""

    def get(self, kind: Kind, name: str) -> Entry | None:
        """Return what is known of an id."""

    def ids(self, kind: Kind, parent: str | None = None) -> tuple[str, ...]:
        """Return the ids of a kind, oldest first; of one parent, or of all."""

    def list(self, kind: Kind, parent: str | None = None) -> Iterable[Entry]:
        """Return the entries of a kind, oldest first."""

    def noted(self, kind: Kind, parent: str | None = None) -> Entry | None:
        """Return how the reading of a list ended; None if it never did."""

    def blob(self, sha256: str) -> Path:
        """Return where a content is."""


class Undamaged:
    """An archive whose damage is this server's trouble, not the caller's.

    Its own words name folders of this machine; callers read others.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def get(self, kind: Kind, name: str) -> Entry | None:
        """Return what is known of an id."""
        with _damage_said():
            return self._archive.get(kind, name)

    def ids(self, kind: Kind, parent: str | None = None) -> tuple[str, ...]:
        """Return the ids of a kind, oldest first; of one parent, or of all."""
        with _damage_said():
            return self._archive.ids(kind, parent)

    def list(self, kind: Kind, parent: str | None = None) -> Iterator[Entry]:
        """Yield the entries of a kind, oldest first."""
        with _damage_said():
            yield from self._archive.list(kind, parent)

    def noted(self, kind: Kind, parent: str | None = None) -> Entry | None:
        """Return how the reading of a list ended; None if it never did."""
        with _damage_said():
            return self._archive.noted(kind, parent)

    def blob(self, sha256: str) -> Path:
        """Return where a content is."""
        with _damage_said():
            return self._archive.blob(sha256)


@contextlib.contextmanager
def _damage_said() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise SelftuneError(
            "The archive that this server reads is damaged here: `selftune rescue verify` says "
            "where.",
            code="archive_damaged",
        ) from error
