"""Write an archive: append lines, keep contents, seal the files at the end of a run.

A line counts when it is whole. What a kill left half written is cut off when the next run begins,
and asked for again. Before a list is noted as read, its objects are on disk.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

from selftune.core.errors import InvalidInput, Unavailable
from selftune.rescue.archive.format import (
    BLOBS,
    COPY,
    KINDS,
    MANIFEST,
    OBJECTS,
    Entry,
    Kind,
    Manifest,
    Seal,
    State,
    digest,
    entry_of,
    line_of,
    manifest_text,
)
from selftune.store.blobs import Blobs, sync_folder

PARTIAL = "archive.partial"
_CHANGING: tuple[Kind, ...] = ("model", "job", "eval_run", "batch", "file", "list")
"""Kinds of which an id can get another line."""


class Known(NamedTuple):
    """What the archive knows of an id, in few bytes."""

    state: State
    is_settled: bool
    content: str
    """SHA-256 of everything but the time."""


@dataclass
class _File:
    """One file of lines while it is written."""

    handle: IO[bytes]
    lines: int = 0
    size: int = 0
    hash: Any = field(default_factory=sha256)
    known: dict[str, Known] = field(default_factory=dict)
    last: dict[str | None, str] = field(default_factory=dict)
    """Id of the newest object that the source lists, by parent."""
    counts: Counter[str | None] = field(default_factory=Counter)
    """Ids, by parent."""
    states: Counter[State] = field(default_factory=Counter)

    def note(self, line: bytes, entry: Entry) -> None:
        """Take a line that is on its way to the disk."""
        self.lines += 1
        self.size += len(line)
        self.hash.update(line)
        before = self.known.get(entry.id)
        if before is None:
            self.counts[entry.parent] += 1
            if entry.object is not None:
                self.last[entry.parent] = entry.id
        else:
            self.states[before.state] -= 1
        self.states[entry.state] += 1
        self.known[entry.id] = Known(entry.state, entry.is_settled, _content(entry))


class Writer:
    """An archive that is being written; one process at a time."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.blobs = Blobs(str(folder / BLOBS), folder / BLOBS)
        self._files: dict[Kind, _File] = {}
        try:
            for kind in KINDS:
                self._files[kind] = _open(folder, kind, manifest.files.get(kind))
        except BaseException:
            self.close()
            raise

    def known(self, kind: Kind, name: str) -> Known | None:
        """Return what is known of an id."""
        return self._files[kind].known.get(name)

    def last(self, kind: Kind, parent: str | None) -> str | None:
        """Return the newest id of a list, from where it can be read on."""
        return self._files[kind].last.get(parent)

    def count(self, kind: Kind, parent: str | None) -> int:
        """Return how many ids of a list are known."""
        return self._files[kind].counts[parent]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many ids are known, by kind and state."""
        return {
            kind: {state: count for state, count in sorted(file.states.items()) if count}
            for kind, file in self._files.items()
            if file.known
        }

    def put(self, entry: Entry) -> None:
        """Append an entry, unless it says what is known already.

        Raises:
            Unavailable: the disk is full; the archive is as it was before.

        """
        file = self._files[entry.kind]
        before = file.known.get(entry.id)
        if before is not None and before.content == _content(entry):
            return
        line = line_of(entry)
        with in_words(self.folder):
            try:
                _write_all(file.handle, line)
            except OSError:
                file.handle.truncate(file.size)
                raise
        file.note(line, entry)

    def sync(self, kind: Kind) -> None:
        """Bring the lines of a kind to the disk."""
        with in_words(self.folder):
            os.fsync(self._files[kind].handle.fileno())

    def begin(self) -> None:
        """Say in `archive.json` that a run is under way."""
        self._write(self.manifest.model_copy(update={"ended_at": None, "is_complete": False}))

    def seal(self, ended_at: int, *, is_complete: bool) -> Manifest:
        """Write down what every file is, at the end of a run."""
        for kind in KINDS:
            self.sync(kind)
        files = {
            kind: Seal(lines=file.lines, bytes=file.size, sha256=file.hash.hexdigest())
            for kind, file in self._files.items()
            if file.lines
        }
        told = {
            "ended_at": ended_at,
            "is_complete": is_complete,
            "counts": self.counts(),
            "files": files,
        }
        self._write(self.manifest.model_copy(update=told))
        return self.manifest

    def give_up(self) -> None:
        """Leave the folder to whichever account comes next, if nothing of this one was kept."""
        if not any(states.get("kept") for states in self.counts().values()):
            for name in (MANIFEST, COPY):
                (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the files back; those without a line were not needed."""
        for kind, file in self._files.items():
            file.handle.close()
            if not file.lines:
                (self.folder / OBJECTS / f"{kind}.jsonl").unlink()

    def _write(self, manifest: Manifest) -> None:
        partial = self.folder / PARTIAL
        for name in (COPY, MANIFEST):  # one of them is whole at any time
            with in_words(self.folder), partial.open("wb") as handle:
                handle.write(manifest_text(manifest))
                handle.flush()
                os.fsync(handle.fileno())
            partial.replace(self.folder / name)
            sync_folder(self.folder)
        self.manifest = manifest


def _open(folder: Path, kind: Kind, seal: Seal | None) -> _File:
    """Open a file of lines at its end; what a kill left at its end is cut off.

    Raises:
        InvalidInput: it lacks what was there when a run ended.

    """
    path = folder / OBJECTS / f"{kind}.jsonl"
    file = _File(path.open("a+b", buffering=0))  # each write reaches the system whole
    sealed = seal or Seal(lines=0, bytes=0, sha256="")
    file.handle.seek(0)
    with path.open("rb") as reading:
        for line in reading:
            try:
                entry = entry_of(line)
            except InvalidInput:
                break
            file.note(line, entry)
            if file.lines == sealed.lines and file.hash.hexdigest() != sealed.sha256:
                break
    damaged = file.size < sealed.bytes or (
        file.lines == sealed.lines > 0 and file.hash.hexdigest() != sealed.sha256
    )
    if damaged:
        file.handle.close()
        raise InvalidInput(
            f"{path} is damaged: `selftune rescue verify {folder}` says where. Nothing was changed; "
            "bring the file back, or archive into another folder."
        )
    file.handle.truncate(file.size)
    file.handle.seek(0, os.SEEK_END)
    return file


def _content(entry: Entry) -> str:
    """Return what tells whether an entry says something new; most are written once."""
    if entry.kind not in _CHANGING:
        return ""
    return digest([entry.state, entry.reason, entry.object, entry.blob])


def _write_all(handle: IO[bytes], data: bytes) -> None:
    """Write all of it: a disk that is nearly full takes a part without a word."""
    while data:
        data = data[handle.write(data) :]


@contextlib.contextmanager
def in_words(folder: Path) -> Iterator[None]:
    """Say in plain words what the disk cannot do."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error.strerror) from error


def cannot_write(folder: Path, problem: str | None) -> Unavailable:
    """Return the error of a disk that is full, or that cannot be written for another reason."""
    return Unavailable(
        f"{folder} cannot be written: {problem}. What is there stays: run it again when that is "
        "mended.",
        code="disk_full",
    )
