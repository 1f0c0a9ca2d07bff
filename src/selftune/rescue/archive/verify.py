"""Compare an archive with what was written: every line, every file, every content."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Record
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
    entry_of,
    manifest_of,
)

_CHUNK_BYTES = 1 << 20


class Problem(Record):
    """One thing that is not as it was written."""

    path: str
    """Relative to the archive."""
    line: int | None = None
    """From 1."""
    what: str


class Checked(Record):
    """What was looked at, and what is wrong with it."""

    problems: tuple[Problem, ...]
    objects: int
    contents: int


def check(folder: Path) -> Checked:
    """Look at everything in an archive.

    Raises:
        NotFound: the folder is none.

    """
    if (
        not any((folder / name).exists() for name in (MANIFEST, COPY))
        and not (folder / OBJECTS).is_dir()
    ):
        raise NotFound(f"{folder} is no archive: it has neither {MANIFEST} nor {OBJECTS}.")
    seen: Counter[str] = Counter()
    problems = tuple(_problems(folder, seen))
    return Checked(problems=problems, objects=seen["objects"], contents=seen["contents"])


def _problems(folder: Path, seen: Counter[str]) -> Iterator[Problem]:
    found_manifests: list[Manifest] = []
    for name in (MANIFEST, COPY):
        try:
            found_manifests.append(manifest_of((folder / name).read_bytes()))
        except FileNotFoundError:
            yield Problem(path=name, what="it is missing")
        except InvalidInput as error:
            yield Problem(path=name, what=error.message)
    # Two that differ are of a kill while one of them was written: the files are as the ended one says.
    manifest = max(found_manifests, key=lambda each: each.ended_at or 0, default=None)
    known: dict[Kind, dict[str, Entry]] = {}
    for kind in KINDS:
        found: dict[str, Entry] = {}
        yield from _of_kind(folder, kind, manifest, found)
        seen["objects"] += len(found)
        known[kind] = found
    yield from _strangers(folder)
    yield from _too_short(known)
    names = sorted({each.blob for each in known["file"].values() if each.blob})
    seen["contents"] = len(names)
    yield from _of_blobs(folder, names)


def _of_kind(
    folder: Path, kind: Kind, manifest: Manifest | None, found: dict[str, Entry]
) -> Iterator[Problem]:
    """Check one file, and note the entries that count."""
    path = folder / OBJECTS / f"{kind}.jsonl"
    name = f"{OBJECTS}/{path.name}"
    seal = None if manifest is None else manifest.files.get(kind)
    if not path.exists():
        if seal is not None:
            yield Problem(path=name, what="it is missing")
        return
    read = _Sum(seal, may_grow=manifest is not None and manifest.ended_at is None)
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            read.add(line)
            try:
                entry = entry_of(line)
            except InvalidInput as error:
                yield Problem(path=name, line=number, what=error.message)
                continue
            if entry.kind != kind:
                yield Problem(path=name, line=number, what=f"it is of the kind {entry.kind}")
            else:  # what lists say of themselves is looked at again, other objects are not
                slim = {} if kind == "list" else {"object": None}
                found[entry.id] = entry.model_copy(update=slim)
    if manifest is not None:
        yield from (Problem(path=name, what=what) for what in read.differences())


class _Sum:
    """What a file is, next to what it was when a run ended; one that is under way may add to it."""

    def __init__(self, seal: Seal | None, *, may_grow: bool) -> None:
        self._may_grow = may_grow
        self._seal = seal or Seal(lines=0, bytes=0, sha256=hashlib.sha256().hexdigest())
        self._lines = self._bytes = 0
        self._hash = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Take the next line."""
        if self._may_grow and self._lines == self._seal.lines:
            return
        self._lines += 1
        self._bytes += len(line)
        self._hash.update(line)

    def differences(self) -> Iterator[str]:
        """Yield what is different."""
        seal = self._seal
        if self._lines != seal.lines:
            yield f"it has {self._lines} lines, and had {seal.lines}"
        elif self._bytes != seal.bytes:
            yield f"it has {self._bytes} bytes, and had {seal.bytes}"
        elif self._hash.hexdigest() != seal.sha256:
            yield "its bytes are not those that were written"


def _strangers(folder: Path) -> Iterator[Problem]:
    """Find files that no selftune wrote."""
    expected = {f"{kind}.jsonl" for kind in KINDS}
    place = folder / OBJECTS
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if path.name not in expected:
            yield Problem(path=f"{OBJECTS}/{path.name}", what="no selftune wrote it")


def _too_short(known: dict[Kind, dict[str, Entry]]) -> Iterator[Problem]:
    """Find lists that have fewer objects than were read; it shows lines lost before a run ended."""
    counts = {kind: Counter(entry.parent for entry in known[kind].values()) for kind in KINDS}
    for entry in known["list"].values():
        noted: dict[str, Any] = entry.object
        kind, count = noted["kind"], noted["count"]
        there = counts[kind][entry.parent]
        if there < count:
            what = f"{count} of {entry.parent or 'the account'} were read, and {there} are here"
            yield Problem(path=f"{OBJECTS}/{kind}.jsonl", what=what)


def _of_blobs(folder: Path, names: list[str]) -> Iterator[Problem]:
    for sha256 in names:
        path = folder / BLOBS / sha256[:2] / sha256
        name = f"{BLOBS}/{sha256[:2]}/{sha256}"
        if not path.is_file():
            yield Problem(path=name, what="it is missing")
        elif _sha256(path) != sha256:
            yield Problem(path=name, what="its bytes are not those that were written")


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()
