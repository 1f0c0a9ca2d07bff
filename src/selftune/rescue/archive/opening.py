"""Open an archive for writing: one process at a time, and only that of the same account."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from selftune.core.errors import Conflict, InvalidInput
from selftune.rescue.archive.format import (
    BLOBS,
    COPY,
    OBJECTS,
    Manifest,
    Source,
    read_manifest,
)
from selftune.rescue.archive.writer import PARTIAL, Writer, cannot_write, in_words

_LOCK = ".lock"


@contextlib.contextmanager
def writing(folder: Path, source: Source, now: int) -> Iterator[Writer]:
    """Open an archive, or make one in a new or empty folder.

    A first run that fails before it has kept anything leaves the folder free for any account.

    Raises:
        Conflict: another process writes it.
        InvalidInput: the folder has other things in it, or is the archive of another account, or
            was damaged.
        Unavailable: the disk is full.

    """
    with in_words(folder):
        found = read_manifest(folder)
        if found is None and folder.exists() and (not folder.is_dir() or _has_more(folder)):
            raise InvalidInput(
                f"{folder} is there already and is no archive: choose a new or an empty folder."
            )
        (folder / OBJECTS).mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        found = read_manifest(folder)  # again: another process may just have ended
        if found is not None:
            _check_account(folder, found.source, source)
        manifest = found or Manifest(source=source, started_at=now)
        with in_words(folder):
            writer = Writer(folder, manifest)
        try:
            writer.begin()
            yield writer
        except BaseException:
            if found is None:
                writer.give_up()
            raise
        finally:
            writer.close()


def _has_more(folder: Path) -> bool:
    """Return whether a folder has what a first run that was killed at once does not leave."""
    ours = {OBJECTS, BLOBS, COPY, _LOCK, PARTIAL}
    return any(path.name not in ours for path in folder.iterdir())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with in_words(folder):
        handle = (folder / _LOCK).open("wb")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"Another process writes the archive {folder}: wait for it.") from error
        except OSError as error:  # of a file system without locks
            raise cannot_write(folder, error.strerror) from error
        yield


def _check_account(folder: Path, before: Source, now: Source) -> None:
    for name in ("base_url", "organization", "project"):
        there, here = getattr(before, name), getattr(now, name)
        if there != here:
            raise InvalidInput(
                f"{folder} is the archive of another account: its {name} is {there!r}, and this "
                f"profile's is {here!r}. Choose another folder, or the other profile."
            )
