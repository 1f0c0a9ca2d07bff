"""What was answered so far: two files that only grow, in the form in which they are delivered.

A line is written with one call before its answer counts, so a kill at any moment loses no answer that
had arrived. A last line that was cut is cut off, and its request asked again.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

from selftune.core.errors import Conflict, Unavailable
from selftune.store.batches import BatchUsage

OUTPUT, ERRORS = "output.jsonl", "errors.jsonl"
T = TypeVar("T")
_PAUSE_SECONDS = 0.1
_SUCCESS = range(200, 300)


class Reply(NamedTuple):
    """What the API answered to one request."""

    status: int
    request_id: str
    body: bytes
    wait_seconds: float = 0.0
    """For which it asks to be left alone."""


class _Body(msgspec.Struct):
    usage: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    body: _Body


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None


class Answers:
    """The answers of one batch. One process at a time has them."""

    def __init__(self, folder: Path) -> None:
        """Open the files in a folder that is there, making them if need be.

        Raises:
            Conflict: another process has them.

        """
        self.paths = folder / OUTPUT, folder / ERRORS
        self.done: set[str] = set()
        """The custom_id of each request that has an answer or is given up."""
        self.completed = self.failed = 0
        self.usage = BatchUsage()
        self._output, self._errors = (_open(path) for path in self.paths)
        try:
            fcntl.flock(self._output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise Conflict(
                f"Another process answers this batch: {str(folder)!r} is in use."
            ) from error
        for path, file in zip(self.paths, (self._output, self._errors), strict=True):
            self._read(path, file)

    def add(self, name: str, custom_id: str, reply: Reply) -> None:
        """Keep what was answered; it is the system's when this returns.

        Raises:
            Unavailable: the disk is full; what was kept before stays.

        """
        is_success = reply.status in _SUCCESS
        response = {
            "status_code": reply.status,
            "request_id": reply.request_id,
            "body": orjson.Fragment(reply.body),
        }
        line = _line(name, custom_id, response, None)
        self._write(self._output if is_success else self._errors, line)
        self._count(line, is_success=is_success)

    def give_up(self, name: str, custom_id: str, code: str, message: str) -> None:
        """Keep why a request was never asked; raises what `add` raises."""
        line = _line(name, custom_id, None, {"code": code, "message": message})
        self._write(self._errors, line)
        self._count(line, is_success=False)

    def sync(self) -> None:
        """Return when everything is on the disk itself: a power cut loses nothing of it."""
        os.fdatasync(self._output)
        os.fdatasync(self._errors)

    def close(self) -> None:
        """Let others have the files."""
        os.close(self._output)
        os.close(self._errors)

    def _read(self, path: Path, file: int) -> None:
        """Count the lines that are there; cut off one that was not finished."""
        end = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._count(line, is_success=path.name == OUTPUT)
                end += len(line)
        os.ftruncate(file, end)

    def _count(self, line: bytes, *, is_success: bool) -> None:
        found = _READ.decode(line)
        self.done.add(found.custom_id)
        self.completed += is_success
        self.failed += not is_success
        if is_success and found.response is not None:
            self.usage += _usage(found.response.body.usage or {})

    def _write(self, file: int, line: bytes) -> None:
        end = os.fstat(file).st_size
        try:
            if os.write(file, line) == len(line):
                return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        os.ftruncate(file, end)
        raise Unavailable("The server's disk is full.", code="disk_full")


def with_space(do: Callable[[], T]) -> T:
    """Do it, however long the disk is full meanwhile: what was answered is not given up for that."""
    while True:
        try:
            return do()
        except Unavailable as error:
            if error.code != "disk_full":
                raise
            time.sleep(_PAUSE_SECONDS)


_READ = msgspec.json.Decoder(_Line)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _line(
    name: str, custom_id: str, response: dict[str, Any] | None, error: dict[str, str] | None
) -> bytes:
    entry = {"id": name, "custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(entry) + b"\n"


def _usage(told: dict[str, Any]) -> BatchUsage:
    """Return the tokens of an answer, in the words of chats or in those of responses."""
    asked, said = (
        told.get(f"{ours}_tokens", told.get(f"{theirs}_tokens"))
        for ours, theirs in (("input", "prompt"), ("output", "completion"))
    )
    of_asked, of_said = (
        told.get(f"{ours}_tokens_details") or told.get(f"{theirs}_tokens_details")
        for ours, theirs in (("input", "prompt"), ("output", "completion"))
    )
    return BatchUsage(
        input_tokens=_number(asked),
        cached_tokens=_number(_part(of_asked, "cached_tokens")),
        output_tokens=_number(said),
        reasoning_tokens=_number(_part(of_said, "reasoning_tokens")),
    )


def _part(details: Any, name: str) -> Any:
    return details.get(name) if isinstance(details, dict) else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
