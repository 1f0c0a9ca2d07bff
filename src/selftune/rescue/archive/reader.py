"""Read an archive: objects by id, lists in order, contents. Lines are found by their place in a file.

Nothing is checked here beyond what reading needs; `verify` checks everything.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from selftune.core.errors import InvalidInput, NotFound
from selftune.rescue.archive.format import (
    BLOBS,
    MANIFEST,
    OBJECTS,
    Entry,
    Kind,
    Manifest,
    entry_of,
    read_manifest,
)
from selftune.rescue.archive.verify import Problem, check


@dataclass
class _Places:
    """Where the lines of one kind are."""

    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Start and length of the line that counts, by id, in the order of the first lines."""
    by_parent: dict[str | None, dict[str, None]] = field(default_factory=dict)


class Archive:
    """A folder that `selftune rescue archive` wrote."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._places: dict[Kind, _Places] = {}

    @classmethod
    def open(cls, folder: Path) -> "Archive":
        """Open an archive, finished or not.

        Raises:
            NotFound: the folder is none.
            InvalidInput: neither its `archive.json` nor the copy can be read.

        """
        manifest = read_manifest(folder)
        if manifest is None:
            raise NotFound(
                f"{folder} is no archive: it has no {MANIFEST}. "
                f"`selftune rescue archive {folder}` makes one."
            )
        return cls(folder, manifest)

    def get(self, kind: Kind, name: str) -> Entry | None:
        """Return what is known of an id; None if the archive never heard of it."""
        span = self._of(kind).spans.get(name)
        if span is None:
            return None
        with self._path(kind).open("rb") as handle:
            return self._entry(handle, span)

    def ids(self, kind: Kind, parent: str | None = None) -> tuple[str, ...]:
        """Return the ids of a kind, oldest first; of one parent, or of all."""
        places = self._of(kind)
        return tuple(places.spans if parent is None else places.by_parent.get(parent, ()))

    def list(self, kind: Kind, parent: str | None = None) -> Iterator[Entry]:
        """Yield the entries of a kind, oldest first, as the source orders them; of one parent, or all.

        Those that are not kept are among them: their `state` says so.
        """
        names, spans = self.ids(kind, parent), self._of(kind).spans
        if not names:
            return
        with self._path(kind).open("rb") as handle:
            for name in names:
                yield self._entry(handle, spans[name])

    def noted(self, kind: Kind, parent: str | None = None) -> Entry | None:
        """Return how the reading of a list ended; None if it never did."""
        return self.get("list", kind if parent is None else f"{kind} {parent}")

    def blob(self, sha256: str) -> Path:
        """Return the path of a content.

        Raises:
            NotFound: it is not there.

        """
        path = self.folder / BLOBS / sha256[:2] / sha256
        if not path.is_file():
            raise NotFound(f"The archive lacks the content {sha256}: see `selftune rescue verify`.")
        return path

    def verify(self) -> tuple[Problem, ...]:
        """Return everything that is not as it was written."""
        return check(self.folder).problems

    def _of(self, kind: Kind) -> _Places:
        if kind not in self._places:
            self._places[kind] = _read_places(self._path(kind))
        return self._places[kind]

    def _path(self, kind: Kind) -> Path:
        return self.folder / OBJECTS / f"{kind}.jsonl"

    def _entry(self, handle: BinaryIO, span: tuple[int, int]) -> Entry:
        handle.seek(span[0])
        try:
            return entry_of(handle.read(span[1]))
        except InvalidInput as error:
            raise InvalidInput(
                f"A line of {handle.name} is damaged, {error.message}: "
                "`selftune rescue verify` says which."
            ) from error


def _read_places(path: Path) -> _Places:
    found = _Places()
    if not path.exists():
        return found
    start = 0
    with path.open("rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):  # a run was killed while it wrote, or writes just now
                break
            try:
                value = json.loads(line)
                name, parent = str(value["id"]), value["parent"]
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInput(
                    f"A line of {path} cannot be read: `selftune rescue verify` says which."
                ) from error
            found.spans[name] = start, len(line)
            found.by_parent.setdefault(parent, {})[name] = None
            start += len(line)
    return found
