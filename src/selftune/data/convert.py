"""Any source -> OpenAI's JSONL, the same bytes every time; and from there into other shapes.

Nothing is written before everything was read: a target is complete or it is not there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from selftune.core.errors import BadRows, InvalidInput
from selftune.core.records import Record
from selftune.data.problems import Problem, problem
from selftune.data.read import ReadOptions, lines_of
from selftune.data.rows import Row, kind_of
from selftune.data.sources.container import container_of_suffix, load_container
from selftune.data.sources.format import Format, load_format
from selftune.data.sources.source import Source, open_source
from selftune.data.sources.target import open_target, target_suffix

_KEPT_PROBLEMS = 1_000
Watch = Callable[[int, int | None], None]
"""Told how many bytes of the source were read, and how many there are, if anybody knows."""


class Converted(Record):
    """What was written."""

    source: str
    target: str
    container: str
    """How the rows are packed now."""
    rows: int
    skipped: int
    """Lines that were left out, because they could not be read or written."""
    problems: tuple[Problem, ...] = ()
    """What was wrong with them, and warnings; the first thousand."""


def convert(
    source: str | Path,
    target: str | Path,
    options: ReadOptions | None = None,
    *,
    to: str | None = None,
    skip_bad: bool = False,
    watch: Watch = lambda read, size: None,
) -> Converted:
    """Write the rows of a source to a target in one shape; return what was written.

    The target's name says how rows are packed (`.jsonl`, `.json`, `.csv`, `.parquet`, …, and `.gz` or
    `.zst` behind it); `-` is JSONL on standard output. `to` is a format; without it rows take OpenAI's
    shape: chats, prompts, preferences and items stay what they are.

    Raises:
        BadRows: rows cannot be read or written, and `skip_bad` is off; nothing was written.
        InvalidInput: there are no rows, or the source or the target cannot be what it must be.

    """
    suffix = target_suffix(str(target))
    container = container_of_suffix(suffix)
    with open_source(source) as opened, open_target(str(target)) as file:
        work = _Conversion(opened, to, skip_bad, watch)
        rows = work.rows(options or ReadOptions())
        written = load_container(container).write(rows, file, suffix)
        if work.skipped and not skip_bad:
            raise BadRows(
                f"{opened.name}: {work.skipped:,} of {work.seen:,} rows cannot be converted; nothing "
                "was written. Repair them, or leave them out with --skip-bad.",
                problems=tuple(work.problems),
            )
        if not written:
            raise InvalidInput(f"{opened.name} has no rows; nothing was written.")
        return Converted(
            source=opened.name,
            target=str(target),
            container=container,
            rows=written,
            skipped=work.skipped,
            problems=tuple(work.problems),
        )


class _Conversion:
    """Rows on their way, and what was wrong with some."""

    def __init__(self, source: Source, to: str | None, skip_bad: bool, watch: Watch) -> None:
        self._source, self._skip_bad, self._watch = source, skip_bad, watch
        self._to = to
        self._formats: dict[str, Format] = {}
        self.seen = self.skipped = 0
        self.problems: list[Problem] = []

    def rows(self, options: ReadOptions) -> Iterator[Row]:
        """Yield what can be written; after the first bad row nothing, unless bad rows are skipped."""
        told = -1
        for line in lines_of(self._source, options):
            self.seen += 1
            if self._source.position != told:
                told = self._source.position
                self._watch(told, self._source.size)
            if line.problem is not None:
                self._note(line.problem)
            if line.row is None:
                self.skipped += 1
                continue
            shape = self._shape(line.row)
            try:
                row = shape.write(line.row)
            except InvalidInput as error:
                self.skipped += 1
                found = problem("not-convertible", line.number, error.message)
                self._note(found.model_copy(update={"file": self._source.name}))
                continue
            if self._skip_bad or not self.skipped:
                yield row

    def _shape(self, row: Row) -> Format:
        kind = kind_of(row)
        if not self._formats and kind == "fields" and self._to is None:
            names = ", ".join(map(str, row))
            raise InvalidInput(
                f"{self._source.name} holds fields ({names}), not chats: say what the messages are, "
                "e.g. --user '{{ " + next(iter(row), "question") + " }}' --assistant '{{ … }}'; or "
                "keep the fields with --to item or --to fields."
            )
        name = self._to or ("chat" if kind == "fields" else kind)
        if name not in self._formats:
            self._formats[name] = load_format(name)
        return self._formats[name]

    def _note(self, found: Problem) -> None:
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(found)
