"""Uploaded bytes, named by their SHA-256, on any storage that fsspec knows.

Bytes arrive in a local temporary file, are synchronised to disk, and only then get their name. The
same bytes are kept once. What a crash leaves behind is removed when the store is next opened.
"""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, cast

import fsspec

from selftune.core.errors import Unavailable
from selftune.core.records import Record
from selftune.store.owners import is_gone, this_process

CHUNK_BYTES = 1 << 20
_NAME_LENGTH = 64


class Blob(Record):
    """What was stored."""

    sha256: str
    bytes: int


class Writer:
    """Takes bytes in order; `commit` gives them their name."""

    def __init__(self, blobs: "Blobs", path: Path, handle: IO[bytes]) -> None:
        self._blobs, self._path, self._handle = blobs, path, handle
        self._hash = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.bytes = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        with _disk_errors():
            self._handle.write(data)
        self._hash.update(data)
        self.md5.update(data)
        self.bytes += len(data)

    def commit(self) -> Blob:
        """Make the bytes durable under their SHA-256."""
        with _disk_errors():
            self._handle.flush()
            os.fsync(self._handle.fileno())
            blob = Blob(sha256=self._hash.hexdigest(), bytes=self.bytes)
            self._blobs.adopt(self._path, blob.sha256)
        return blob


class Blobs:
    """A folder of blobs, local or remote, and a local folder for what is on its way."""

    def __init__(self, url: str, temporary: Path) -> None:
        self._storage, self._base = fsspec.core.url_to_fs(url)
        self._is_local = "file" in self._storage.protocol
        # A rename is atomic only within one file system.
        self._temporary = Path(self._base) / ".tmp" if self._is_local else temporary
        self._storage.makedirs(self._base, exist_ok=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._remove_stale()

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """Open a writer; what was not committed when the block ends is gone."""
        path = self._new_path()
        with _disk_errors():
            handle = path.open("xb")
        try:
            yield Writer(self, path, handle)
        finally:
            handle.close()
            path.unlink(missing_ok=True)

    def adopt(self, path: Path, sha256: str) -> None:
        """Move a complete local file to its name, unless the name is taken already."""
        target = self._path(sha256)
        if self._storage.exists(target):
            return
        self._storage.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if not self._is_local:
            self._storage.put_file(str(path), target)
            return
        path.replace(target)
        sync_folder(Path(target).parent)
        sync_folder(Path(self._base))

    def open(self, sha256: str) -> BinaryIO:
        """Open the bytes for reading."""
        return cast(BinaryIO, self._storage.open(self._path(sha256), "rb"))

    def local_path(self, sha256: str) -> Path:
        """Return a path on this machine that holds the bytes; remote ones are copied once."""
        if self._is_local:
            return Path(self._path(sha256))
        copy = self._temporary.parent / "cache" / sha256
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = self._new_path()
            self._storage.get_file(self._path(sha256), str(partial))
            partial.replace(copy)
        return copy

    def exists(self, sha256: str) -> bool:
        """Return whether the bytes are there."""
        return bool(self._storage.exists(self._path(sha256)))

    def age(self, sha256: str) -> float:
        """Return for how many seconds the bytes have been there."""
        modified = self._storage.modified(self._path(sha256))
        return float((datetime.now(UTC) - modified).total_seconds())

    def names(self) -> Iterator[str]:
        """Yield the SHA-256 of everything that is kept."""
        for path in self._storage.find(self._base):
            name = str(path).rpartition("/")[2]
            if len(name) == _NAME_LENGTH:
                yield name

    def delete(self, sha256: str) -> None:
        """Remove the bytes; nothing happens when they are gone already."""
        path = self._path(sha256)
        if self._storage.exists(path):
            self._storage.rm_file(path)

    def _path(self, sha256: str) -> str:
        return f"{self._base}/{sha256[:2]}/{sha256}"

    def _new_path(self) -> Path:
        """Return a temporary path that says which process writes it."""
        return self._temporary / f"{this_process()}:{secrets.token_hex(16)}"

    def _remove_stale(self) -> None:
        """Remove what processes that are gone were writing."""
        for path in self._temporary.iterdir():
            if is_gone(path.name.rpartition(":")[0]):
                path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_folder(temporary: Path, target: Path) -> None:
    """Give a complete folder its name: contents first to disk, then the name."""
    for path in temporary.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
    if target.exists():  # an earlier attempt got this far; its bytes are the same
        shutil.rmtree(temporary)
        return
    temporary.replace(target)
    sync_folder(target.parent)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Say in plain words that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unavailable(
            "The server's disk is full: nothing was stored. Free space and send it again.",
            code="disk_full",
        ) from error
