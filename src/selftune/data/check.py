"""Everything that is wrong with data, before anything is spent: each breach of `rules.toml`.

One pass in constant memory: rows are read in blocks (`checking/block.py`), their texts searched
(`findings/content.py`), and counted (`checking/tally.py`); then what only the whole shows is said.
Large files are read by several processes. Near-duplicates need a second pass and all prompts in memory.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.checking.block import BYTES
from selftune.data.checking.keys import Keys
from selftune.data.checking.lines import lines_in_pieces
from selftune.data.checking.piece import (
    Piece,
    Task,
    check_pieces,
    check_rows,
    first_rows,
)
from selftune.data.checking.structure import Method, method_of
from selftune.data.checking.tally import Tally, amount, findings
from selftune.data.problems import Problem, Severity, problem, rules
from selftune.data.read import ReadOptions, lines_of, read_lines
from selftune.data.rows import Row, answer_text, prompt_text
from selftune.data.sources.container import container_of
from selftune.data.sources.format import format_of
from selftune.data.sources.source import STANDARD_INPUT, Source, open_source
from selftune.models import prices

_UPLOADED = ("chat", "preference", "prompt", "item")
"""Shapes that are uploaded as they are."""
MAX_FILE_BYTES = 512 << 20
"""OpenAI's limit for one file, where it is not sent in parts."""
_WORTH_PROCESSES = 64 << 20
_NEAR_TOKENS = 16_000_000
"""Some 64 MB of text, which near-duplicates need in memory."""
_ROWS_AT_ONCE = 1000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN = 20

Progress = Callable[[int, int | None], None]
"""Hears how many bytes were read, and of how many where that is known."""


class CheckOptions(Record):
    """What to check for."""

    method: Method | None = None
    """How the rows will be used; absent, by the shape of the first row."""
    model: str | None = None
    """Whose tokens are counted, and whose limit an example must keep."""
    content: bool = True
    """Also look into texts: secrets, damage, repeats, labels; false checks structure only."""
    near: bool | None = None
    """Also look for near-duplicates; absent, in files of up to 16 million tokens (some 64 MB)."""
    processes: int | None = None
    """Processes that read; absent, one for each processor where the file is worth it."""
    read: ReadOptions = ReadOptions()


class Checked(Record):
    """What was found."""

    source: str
    method: Method
    rows: int
    tokens: int
    """Of all rows, once, with the overhead of chats."""
    counts: dict[str, int]
    """How often each rule was breached."""
    problems: tuple[Problem, ...]
    """The first 20 breaches of each rule, in order of lines."""

    def count(self, severity: Severity) -> int:
        """Return how many breaches are of one severity."""
        return sum(
            count for rule, count in self.counts.items() if rules()[rule].severity == severity
        )

    @property
    def has_errors(self) -> bool:
        """Whether a job would refuse this."""
        return self.count("error") > 0


def check(
    source: str | Path,
    options: CheckOptions | None = None,
    *,
    each: Callable[[Problem], None] | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Return what is wrong with a source; `each` hears every problem as it is found.

    Raises:
        InvalidInput: the source is not there.

    """
    counts: Counter[str] = Counter()
    kept: list[Problem] = []
    checking = Checking(source, options or CheckOptions(), progress)
    for found in checking.problems():
        counts[found.rule] += 1
        if counts[found.rule] <= _SHOWN:
            kept.append(found)
        if each is not None:
            each(found)
    return Checked(
        source=checking.name,
        method=checking.method,
        rows=checking.tally.rows,
        tokens=checking.tally.tokens,
        counts=dict(counts),
        problems=tuple(sorted(kept, key=lambda found: found.place)),
    )


def problems(source: str | Path, options: CheckOptions | None = None) -> Iterator[Problem]:
    """Yield everything that is wrong with a source: by blocks of lines, then what only all show."""
    return Checking(source, options or CheckOptions()).problems()


class Checking:
    """One check; what it counted can be asked once its problems have been heard."""

    def __init__(
        self, source: str | Path, options: CheckOptions, progress: Progress | None = None
    ) -> None:
        self._source, self._options, self._progress = source, options, progress
        self.name = str(source)
        self.method: Method = options.method or "supervised"
        self.tally = Tally(self.method)
        self._keys = Keys()
        self._position: Callable[[], int] = lambda: 0

    def problems(self) -> Iterator[Problem]:
        """Yield every problem.

        Raises:
            InvalidInput: the source is not there.

        """
        for found in self._all():
            yield found if found.file else found.model_copy(update={"file": self.name})

    def _all(self) -> Iterator[Problem]:
        size = None
        with open_source(self._source) as opened:
            self.name = opened.name
            self._position = lambda: opened.position
            if self._options.near and opened.location == STANDARD_INPUT:
                raise InvalidInput(
                    "Near-duplicates need a second look, and standard input passes once: "
                    "write it to a file first."
                )
            try:
                size = opened.size
                yield from self._read(opened)
            except InvalidInput as error:
                if error.code not in rules():
                    raise
                yield problem(str(error.code), None, error.message)
                return  # of the rest nothing is known
        yield from amount(self.tally)
        if self._options.content:
            yield from findings(self.tally)
            yield from self._repeats()
            can_be_read_again = size is not None
            is_small = can_be_read_again and self.tally.tokens <= _NEAR_TOKENS
            if is_small if self._options.near is None else self._options.near:
                yield from self._near()

    def _read(self, opened: Source) -> Iterator[Problem]:
        given = self._options.read
        if (opened.size or 0) > MAX_FILE_BYTES:
            words = f"The file has {opened.size:,} bytes; the limit is {MAX_FILE_BYTES:,}."
            yield problem("file-too-large", None, words)
        if opened.head.startswith(_BYTE_ORDER_MARK):
            yield problem("byte-order-mark", 1)
        container = given.container or container_of(opened)
        first = next(iter(first_rows(opened.head)), None) if container == "jsonl" else None
        shape = given.format or (None if first is None else format_of(first))
        is_for_upload = container == "jsonl" and shape in (None, "fields", *_UPLOADED)
        if not is_for_upload or given.template is not None:
            yield problem("needs-converting", None)
            pieces = self._converted(opened)
        elif given.limit is not None:
            pieces = self._converted(opened)
        else:
            self._begin(first)
            pieces = self._pieces(opened)
        for piece in pieces:
            self.tally.add(piece.tally)
            for keys in piece.tally.keys:
                self._keys.add(keys)
            yield from piece.problems
            if self._progress is not None:
                self._progress(self._position(), opened.size)
        if not self.tally.rows:
            yield problem("file-empty", None)

    def _begin(self, first: Row | None) -> None:
        if self._options.method is None and first is not None:
            self.method = method_of(first)
            self.tally = Tally(self.method)

    def _task(self) -> Task:
        model = self._options.model
        price = None if model is None else prices.find(model)
        limit = None if price is None else price.example_limit
        return Task(self.method, model or "", limit, self._options.content)

    def _pieces(self, opened: Source) -> Iterator[Piece]:
        """Read lines as they are, in as many processes as the file is worth."""
        path = opened.plain_path
        stream = opened.stream
        if path is not None:  # straight from the file, past the layers that unpack and count
            stream = opened.seekable()
            self._position = stream.tell
        lines = lines_in_pieces(stream, BYTES)
        processes = self._options.processes
        if processes is None:
            is_large = opened.size is None or opened.size >= _WORTH_PROCESSES
            processes = os.cpu_count() or 1 if is_large else 1
        yield from check_pieces(lines, self._task(), processes, path)

    def _converted(self, opened: Source) -> Iterator[Piece]:
        """Read rows of other shapes as chats."""
        rows = lines_of(opened, self._options.read)
        if first := list(islice(rows, _ROWS_AT_ONCE)):
            self._begin(next((line.row for line in first if line.row is not None), None))
            others = iter(lambda: list(islice(rows, _ROWS_AT_ONCE)), [])
            yield from check_rows(chain([first], others), self._task())

    def _repeats(self) -> Iterator[Problem]:
        for line, earlier, is_same in self._keys.repeats():
            rule = "duplicate-row" if is_same else "contradictory-answers"
            words = "says the same as line {}" if is_same else "answers otherwise than line {}"
            yield problem(rule, line, words.format(earlier), file=self.name)

    def _near(self) -> Iterator[Problem]:
        """Read the source again, and compare what its rows ask and answer."""
        from selftune.data.likeness.near import near_pairs  # only here, so that jobs do not load it

        lines = [
            line for line in read_lines(self._source, self._options.read) if line.row is not None
        ]
        rows = [line.row for line in lines if line.row is not None]
        texts = [f"{prompt_text(row)}\n{answer_text(row)}" for row in rows]
        earlier: dict[int, tuple[int, float]] = {}
        for pair in near_pairs(texts):
            if texts[pair.first] != texts[pair.second]:
                earlier.setdefault(pair.second, (pair.first, pair.similarity))
        for second, (first, similarity) in sorted(earlier.items()):
            words = f"says nearly the same as line {lines[first].number} ({similarity:.0%} of the words)"
            yield problem("near-duplicate", lines[second].number, words)
