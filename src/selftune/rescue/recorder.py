"""The process that records and compares what passes through a server.

`python -m selftune.rescue.recorder SOCKET`. It is apart from the server, so that looking for secrets
and writing take nothing from those who wait for answers. Nothing is written before it is redacted;
where nothing can be written, recording stops, and begins again when there is room.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from sqlalchemy.exc import OperationalError

from selftune.core.errors import SelftuneError
from selftune.core.settings import load_settings
from selftune.jobs.processes import die_with_parent
from selftune.models.noted import LENGTH_BYTES, MOST_BYTES, Note, note_of
from selftune.rescue import comparing
from selftune.store.store import Store, open_store

FOLDER = "rescue"
STATUS = "recorder.json"
_AT_ONCE = 64
"""Notes that are stored by one commit."""
_TOGETHER = 8
"""Notes that are redacted together, which is cheaper than one by one; then others go first."""
_GATHER_SECONDS = 0.02
"""From the first note on: many together cost less than each alone, above all less of the disk."""
_WAIT_SECONDS = 0.2
_PAUSE_SECONDS = 30.0
"""After a write that failed; what comes meanwhile is dropped."""
_NOT_WRITTEN = (OSError, SelftuneError, OperationalError)
"""The disk is full, or the database is away: no other note can be written either."""
_log = logging.getLogger("selftune.recorder")


class Status(msgspec.Struct):
    """What was done since the process began; `selftune rescue routes` shows it."""

    recorded: int = 0
    compared: int = 0
    left_out: int = 0
    """Requests that the replacement was to be asked too, and was too busy for."""
    taken_out: int = 0
    """Secrets and pieces of personal data."""
    unreadable: int = 0
    """Exchanges that cannot be kept: refusals, pictures, what another server wrote oddly."""
    dropped: int = 0
    """While nothing could be written."""
    problem: str = ""


class Recorder:
    """Keeps and compares notes."""

    def __init__(self, store: Store) -> None:
        self.status = Status()
        self._store = store
        self._folder = store.folder(FOLDER)
        self._status_path = store.folder("run") / STATUS
        self._silent_until = 0.0

    def take(self, notes: Sequence[Note]) -> None:
        """Keep and compare some notes; where that fails, none are kept for a while."""
        if time.monotonic() < self._silent_until:
            self.status.dropped += len(notes)
            return
        self.status.left_out += sum(note.is_left_out for note in notes)
        try:
            self._compare(notes)
            self._record([note for note in notes if note.is_recorded])
            self.status.problem = ""
        except _NOT_WRITTEN as error:
            reason = _words_of(error)
            _log.error("Recording stops for %g seconds: %s", _PAUSE_SECONDS, reason)
            self.status.problem, self.status.dropped = reason, self.status.dropped + len(notes)
            self._silent_until = time.monotonic() + _PAUSE_SECONDS
        self.tell()

    def tell(self) -> None:
        """Write what was done for who asks."""
        fresh = self._status_path.with_suffix(".new")
        with contextlib.suppress(OSError):
            fresh.write_bytes(msgspec.json.encode(self.status))
            fresh.replace(self._status_path)

    def _record(self, notes: Sequence[Note]) -> None:
        """Keep notes together, or each alone where one of them holds what nobody thought of."""
        try:
            self._keep(notes)
        except _NOT_WRITTEN:
            raise
        except Exception as error:  # noqa: BLE001 - what one note holds must not cost others
            if len(notes) == 1:
                self._lose(error)
                return
            for note in notes:
                self._record([note])

    def _keep(self, notes: Sequence[Note]) -> None:
        if not notes:
            return
        from selftune.rescue.recording import completions_of
        from selftune.store.completions import StoredCompletion, save_completion

        found: list[StoredCompletion] = []
        unreadable = taken = 0
        for start in range(0, len(notes), _TOGETHER):
            some, *counts = completions_of(self._store, notes[start : start + _TOGETHER])
            found += some
            unreadable, taken = unreadable + counts[0], taken + counts[1]
            _let_others_go()
        save_completion(self._store, *found)
        self.status.recorded += len(found)
        self.status.unreadable += unreadable
        self.status.taken_out += taken

    def _compare(self, notes: Sequence[Note]) -> None:
        pairs = []
        for note in notes:
            try:
                pair = comparing.pair_of(note)
            except Exception as error:  # noqa: BLE001 - as above
                self._lose(error)
                continue
            if pair is not None:
                pairs.append(pair)
                _let_others_go()
        if not pairs:
            return
        lines = "".join(json.dumps(pair.model_dump()) + "\n" for pair in pairs)
        _append(self._folder / comparing.FILE, lines.encode())
        self.status.compared += len(pairs)

    def _lose(self, error: Exception) -> None:
        """Count a note that cannot be kept; what an error says of it may be what it holds."""
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("A note was lost: %s\n%s", type(error).__name__, where)
        self.status.unreadable += 1


def _words_of(error: Exception) -> str:
    """Return what is wrong, without the texts that were to be written."""
    if isinstance(error, OperationalError):
        return str(error.orig)
    return getattr(error, "message", None) or str(error)


def _let_others_go() -> None:
    """Give the processor to who waits for it, in the middle of a turn that would go on for long.

    The system lets a process that began go on for some milliseconds, however low its priority: as
    long as everything else that an answer costs. Where nobody waits, this costs nothing.
    """
    os.sched_yield()


def _append(path: Path, data: bytes) -> None:
    """Write at the end of a file, all or nothing; a line that a crash cut is ended before."""
    with path.open("ab+", buffering=0) as handle:  # a buffer would be written once more at the end
        size = handle.tell()
        if size:
            handle.seek(size - 1)
            data = data if handle.read(1) == b"\n" else b"\n" + data
        try:
            todo = memoryview(data)
            while todo:
                todo = todo[handle.write(todo) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle.fileno(), size)
            raise


class _Frames:
    """Notes as they come over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self.is_open = True

    def some(self) -> list[Note]:
        """Return what is there, after a short wait for the first and a shorter one for others."""
        notes: list[Note] = []
        if not self._buffer and self._receive(_WAIT_SECONDS):
            time.sleep(_GATHER_SECONDS)
        while len(notes) < _AT_ONCE:
            if (note := self._next()) is not None:
                notes.append(note)
            elif not self._receive(0.0 if notes else _WAIT_SECONDS):
                break
        return notes

    def _receive(self, wait_seconds: float) -> bool:
        self._connection.settimeout(wait_seconds)
        try:
            data = self._connection.recv(1 << 20)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            data = b""
        self._buffer += data
        self.is_open = bool(data)
        return self.is_open

    def _next(self) -> Note | None:
        if len(self._buffer) < LENGTH_BYTES:
            return None
        size = int.from_bytes(self._buffer[:LENGTH_BYTES])
        if size > 2 * MOST_BYTES:
            raise ValueError("a frame is larger than any note")
        end = LENGTH_BYTES + size
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[LENGTH_BYTES:end])
        del self._buffer[:end]
        return note_of(body)


def serve(store: Store, path: Path, is_over: Callable[[], bool]) -> None:
    """Take notes until it is over; what has come by then is still kept."""
    recorder = Recorder(store)
    recorder.tell()
    with _listening(path) as listening:
        while not is_over():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            with connection:
                frames = _Frames(connection)
                while frames.is_open:
                    notes = frames.some()
                    if notes:
                        recorder.take(notes)
                    elif is_over():
                        break


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
    finally:
        os.umask(before)
    with listening:
        listening.listen(1)
        listening.settimeout(_WAIT_SECONDS)
        yield listening


def main() -> None:
    """Run the process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    die_with_parent()
    os.nice(19)  # the last of all: others wait for answers
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    serve(open_store(load_settings()), Path(sys.argv[1]), lambda: bool(stopping))


if __name__ == "__main__":
    main()
