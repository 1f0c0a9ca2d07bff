"""One piece of a file: its problems and its counts. Pieces know nothing of each other.

So they can be read by several processes; what comes back is in the order of the file.
"""

import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selftune.data.checking.block import Block, Reader, block_of_lines, block_of_rows
from selftune.data.checking.lines import Lines
from selftune.data.checking.structure import Method
from selftune.data.checking.tally import Tally
from selftune.data.checking.typed import ASSISTANT, SYSTEM
from selftune.data.counting.lengths import Encoding, Tokenizer, tokenizer_of
from selftune.data.problems import Problem, problem
from selftune.data.rows import Line, Row
from selftune.data.sources.json_rows import parse_row
from selftune.models.tokens import prepare_many

if TYPE_CHECKING:
    from selftune.data.findings.finding import Finding

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PARENT_SECONDS = 0.5
_WORTH_LOADING = 1 << 19
"""Bytes of a piece from which the tables for many texts are loaded first."""


class Task(NamedTuple):
    """How to check."""

    method: Method
    model: str
    limit: int | None
    """Tokens of one example; None is unknown."""
    content: bool
    """Whether to look into texts, and to count them."""


class Piece(NamedTuple):
    """What one piece says."""

    problems: list[Problem]
    """In order of lines."""
    tally: Tally


def check_pieces(
    lines: Iterator[Lines], task: Task, processes: int, path: Path | None = None
) -> Iterator[Piece]:
    """Check pieces of a stream, in order, in this process or in several.

    Where the stream is a file, its path saves sending bytes between processes.
    """
    if processes == 1:
        reader = _reader(task)
        for some in lines:
            if len(some.data) > _WORTH_LOADING:
                _prepare(reader.tokenizer)
            yield _check(some, task, reader)
        return
    # A fork shares the tables that are loaded already; it is safe while there is one thread.
    method = "fork" if threading.active_count() == 1 else "forkserver"
    _prepare(_reader(task).tokenizer)
    pool = ProcessPoolExecutor(processes, get_context(method), _start, (task,))
    try:
        waiting: deque[Future[Piece]] = deque()
        for some in lines:
            with _not_interrupted():
                if path is not None and not some.is_too_long:
                    place = (path, some.offset, len(some.data), some.first)
                    waiting.append(pool.submit(_check_place, *place))
                else:
                    waiting.append(pool.submit(_check_in_child, some))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def check_rows(rows: Iterable[Sequence[Line]], task: Task) -> Iterator[Piece]:
    """Check rows that were read already, some at a time."""
    reader = _reader(task)
    for lines in rows:
        piece = Piece([], Tally(task.method))
        piece.tally.rows = len(lines)
        block, problems = block_of_rows(lines, reader)
        _take(piece, block, problems, task)
        yield piece


def first_rows(head: bytes) -> Iterator[Row]:
    """Yield the rows that can be read in the first bytes of a file of lines."""
    lines = head.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    for text in lines[:-1] if len(lines) > 1 else lines:
        line = parse_row(text, 1)
        if line.row is not None:
            yield line.row


_child: tuple[Task, Reader] | None = None


def _start(task: Task) -> None:
    global _child  # what a child process keeps from piece to piece
    # An interrupt goes to all processes; a child that heard it might leave half a message behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _child = task, _reader(task)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which may be killed without a word."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(1)


def _check_in_child(lines: Lines) -> Piece:
    assert _child is not None
    return _check(lines, *_child)


def _reader(task: Task) -> Reader:
    return Reader(task.method, tokenizer_of(task.model))


def _check_place(path: Path, offset: int, size: int, first: int) -> Piece:
    with path.open("rb") as file:
        file.seek(offset)
        return _check_in_child(Lines(file.read(size), first))


def _prepare(tokenizer: Tokenizer) -> None:
    if isinstance(tokenizer, Encoding):
        prepare_many(tokenizer.name)


def _check(lines: Lines, task: Task, reader: Reader) -> Piece:
    piece = Piece([], Tally(task.method))
    if lines.is_too_long:
        piece.tally.rows = 1
        piece.problems.append(problem("line-too-long", lines.first))
    data = lines.data.removeprefix(_BYTE_ORDER_MARK) if lines.first == 1 else lines.data
    if data:
        with _no_collection():
            block, problems = block_of_lines(data, lines.first, reader)
            count = data.count(b"\n") + (not data.endswith(b"\n"))
            piece.tally.rows = count - sum(found.rule == "line-blank" for found in problems)
            _take(piece, block, problems, task)
    return piece


@contextmanager
def _not_interrupted() -> Iterator[None]:
    """Let an interrupt wait: a pool that is interrupted while it starts its processes never ends.

    Threads and processes that are started meanwhile leave interrupts to this thread for good.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles among the many small objects of a block: it has none.

    Looking takes an eighth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _take(piece: Piece, block: Block, problems: list[Problem], task: Task) -> None:
    piece.tally.count(block, texts=task.content)
    if task.limit is not None:
        problems += _too_long(block, task.limit)
    if task.content:
        problems += _content(block, has_messages=task.method != "evaluation")
    problems.sort(key=lambda found: found.place)
    piece.problems.extend(problems)


def _too_long(block: Block, limit: int) -> Iterator[Problem]:
    for row in np.flatnonzero(block.tokens > limit).tolist():
        more = int(block.tokens[row]) - limit
        words = f"has {limit + more:,} tokens; {more:,} beyond the limit of {limit:,} are cut off"
        yield problem("example-too-long", block.lines[row], words)


def _content(block: Block, *, has_messages: bool) -> Iterator[Problem]:
    for at, finding in _findings(block):
        line, index = block.place(at)
        message_index = index if has_messages else None
        words = f"has what looks like this: {finding.kind}"
        yield problem(finding.rule, line, words, message_index=message_index)
    at_answers = np.flatnonzero(block.roles == ASSISTANT).tolist()
    answers = [block.texts[at] for at in at_answers]
    # A text without whitespace at its ends is its own stripped form: the same object.
    for at in [
        at
        for at, text in zip(at_answers, answers, strict=True)
        if text.strip() is not text and not text.isspace()
    ]:
        line, index = block.place(at)
        yield problem(
            "answer-untrimmed", line, "begins or ends with whitespace", message_index=index
        )


def _findings(block: Block) -> Iterator[tuple[int, "Finding"]]:
    """Yield what is found in each text; system prompts, which come again, are searched once."""
    from selftune.data.findings import content  # its libraries take half a second to load

    is_system = block.roles == SYSTEM
    others = np.flatnonzero(~is_system).tolist()
    repeated: dict[str, list[int]] = {}
    for at in np.flatnonzero(is_system).tolist():
        repeated.setdefault(block.texts[at], []).append(at)
    texts = [block.texts[at] for at in others]
    places = list(repeated.values())
    for finding in content.find_content([*texts, *repeated]):
        index = finding.text_index
        where = others[index : index + 1] or places[index - len(others)]
        for at in where:
            yield at, finding
