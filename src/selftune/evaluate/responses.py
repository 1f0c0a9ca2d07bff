"""Every answer that was paid for, in one file that only grows: what resuming and reusing read.

A line is written with one call before its answer counts, so a kill at any moment loses no answer that
had arrived, and asks none again. A last line that was cut is left where it is and never read.
"""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from selftune.core.errors import Conflict, Unavailable
from selftune.models.answers import Answer

_BEFORE_KEY = b'{"key":"'
_KEY_DIGITS = 64
_LENGTH_BITS = 32
_KEPT = ("answered", "refused", "cut", "malformed")
"""What the model did say. That no answer came, or that a request was refused, may change."""


_TRIES, _PAUSE_SECONDS = 3, 0.05


def is_in_use(path: Path) -> bool:
    """Return whether a process has the file now."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Responses:
    """Answers by the key of their question. One process at a time has the file."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if need be.

        Raises:
            Conflict: another process has it.

        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lock()
        self._places: dict[bytes, int] = {}
        self._end = 0
        self._index()

    def get(self, key: str) -> Answer | None:
        """Return the answer to a question, if there is one."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        offset, length = place >> _LENGTH_BITS, place & ((1 << _LENGTH_BITS) - 1)
        try:
            return Answer.model_validate_json(os.pread(self._file, length, offset))
        except ValueError:  # somebody edited the file: ask again
            return None

    def add(self, answer: Answer) -> None:
        """Keep an answer, if it is one; it is the system's when this returns.

        Raises:
            Unavailable: the disk is full; what was kept before stays.

        """
        if answer.status not in _KEPT:
            return
        line = answer.model_dump_json(exclude_defaults=True).encode() + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise self._full(error) from error
        if written < len(line):  # the disk was full in the middle of it
            os.ftruncate(self._file, self._end)
            raise self._full(OSError(errno.ENOSPC, "No space left on device"))
        self._note(answer.key.encode(), self._end, len(line))
        self._end += len(line)

    def sync(self) -> None:
        """Return when everything is on the disk itself: a power cut loses nothing of it.

        Raises:
            Unavailable: the disk does not take it.

        """
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise self._full(error) from error

    def close(self) -> None:
        """Let others have the file."""
        os.close(self._file)

    def _lock(self) -> None:
        for _ in range(_TRIES):
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # or somebody looks whether it is in use
                time.sleep(_PAUSE_SECONDS)
        os.close(self._file)
        raise Conflict(
            f"Another process runs this eval: {str(self._path)!r} is in use. Wait for it, or stop it."
        )

    def _index(self) -> None:
        """Find every line; end the last one if it was cut."""
        ends = True
        with self._path.open("rb") as file:
            for line in file:
                ends = line.endswith(b"\n")
                if ends and line.startswith(_BEFORE_KEY):
                    key = line[len(_BEFORE_KEY) : len(_BEFORE_KEY) + _KEY_DIGITS]
                    self._note(key, self._end, len(line))
                self._end += len(line)
        if not ends:
            self._end += os.write(self._file, b"\n")

    def _note(self, key: bytes, offset: int, length: int) -> None:
        with contextlib.suppress(ValueError):  # no key of ours
            self._places[bytes.fromhex(key.decode())] = offset << _LENGTH_BITS | length

    def _full(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"{str(self._path)!r} cannot be written: {error.strerror}. Free space, then run the same "
            "again: every answer so far is kept."
        )
