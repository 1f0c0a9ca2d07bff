"""What was done at a provider, on disk before and after each step: HOME/remote/DIGEST/kept.json.

The digest is of all that decides a job, so the same command finds what it began. One process at a
time has the folder.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selftune.core.errors import Conflict, InvalidInput, Unavailable
from selftune.core.records import Record
from selftune.store.whole_files import write_whole


class Kept(Record):
    """How far a training at a provider has come."""

    profile: str
    address: str
    training_file: str | None = None
    validation_file: str | None = None
    creating_since: int | None = None
    """When a job was asked for whose id may not have been heard."""
    job: str | None = None
    ended: tuple[str, ...] = ()
    """Jobs that failed or were cancelled: the next one is another."""


class Book:
    """The folder of one training, for this process alone."""

    def __init__(self, folder: Path, first: Kept) -> None:
        self.folder = folder
        self.kept = self._read() or first

    def note(self, **changed: Any) -> None:
        """Keep what has changed; on disk when this returns."""
        self.kept = self.kept.model_copy(update=changed)
        self._write(self._file, self.kept.model_dump_json(indent=1).encode())

    def keep_result(self, content: bytes) -> Path:
        """Keep the job's result file; return where."""
        path = self.folder / "step_metrics.csv"
        self._write(path, content)
        return path

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise _unwritable(path, error) from error

    @property
    def _file(self) -> Path:
        return self.folder / "kept.json"

    def _read(self) -> Kept | None:
        try:
            return Kept.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise InvalidInput(
                f"{str(self._file)!r} is damaged. It says which job is yours: look at "
                "`selftune jobs list --profile …`, then delete the file to begin anew."
            ) from error


@contextmanager
def open_book(home: Path, digest: str, first: Kept) -> Iterator[Book]:
    """Have the folder of a training for this process alone.

    Raises:
        Conflict: another process has it.
        InvalidInput: it is damaged.
        Unavailable: it cannot be written.

    """
    folder = home / "remote" / digest[:24]
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = (folder / "lock").open("wb")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict("Another process runs the same file at this provider.") from error
        yield Book(folder, first)


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{str(path)!r} cannot be written: {error.strerror}. Mend it, then run the same again: "
        "nothing is done twice."
    )
