"""A source of any known shape -> rows in OpenAI's shape, chosen by what is in it.

Two choices are made, both by content and both overridable: how rows are packed (`containers/`), by the
first bytes; and the shape of one row (`formats/`), by the first row that can be read.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import Template
from selftune.data import containers, formats
from selftune.data.problems import Problem, problem, rules
from selftune.data.rows import Line
from selftune.data.rows import Row as Row
from selftune.data.sources.container import container_of
from selftune.data.sources.format import FALLBACK, Format, format_of
from selftune.data.sources.source import Source, open_source

_SHOWN_PROBLEMS = 10


class ReadOptions(Record):
    """How to read a source, where its content does not say it."""

    container: str | None = None
    """How rows are packed (`jsonl`, `table`, …); absent, by content."""
    format: str | None = None
    """Shape of one row (`chat`, `sharegpt`, …); absent, by content."""
    template: Template | None = None
    """How a row of fields becomes a chat; absent, rows of fields stay as they are."""
    split: str | None = None
    """Split of a dataset that has several, e.g. `train`."""
    limit: int | None = None
    """Rows that are read, from the beginning."""


def read_lines(source: str | Path, options: ReadOptions | None = None) -> Iterator[Line]:
    """Yield every row with its line, and every line that is no row with what is wrong with it.

    Raises:
        InvalidInput: the source is not there, or nothing knows how to read it.

    """
    with open_source(source) as opened:
        yield from lines_of(opened, options or ReadOptions())


def read_rows(source: str | Path, options: ReadOptions | None = None) -> list[Row]:
    """Return the rows of a source.

    Raises:
        InvalidInput: it is not there, has no rows, or lines cannot be read; names file and lines.

    """
    rows: list[Row] = []
    problems: list[Problem] = []
    with open_source(source) as opened:
        for line in lines_of(opened, options or ReadOptions()):
            if line.row is not None:
                rows.append(line.row)
            elif line.problem is not None:
                problems.append(line.problem)
        if problems:
            raise InvalidInput(told(problems))
        if not rows:
            raise InvalidInput(f"{opened.name} has no rows.")
    return rows


def told(problems: list[Problem]) -> str:
    """Return problems as text, one a line: the place, what is wrong, the remedy."""
    lines = [
        f"{found.file}, line {found.line}: {found.message.removesuffix('.')}. {found.remedy}"
        for found in problems[:_SHOWN_PROBLEMS]
    ]
    more = len(problems) - len(lines)
    return "\n".join(lines + ([f"And {more} more."] if more else []))


def lines_of(source: Source, options: ReadOptions) -> Iterator[Line]:
    """Yield the lines of a source that is open; see `read_lines`."""
    for line in islice(_shaped(_packed(source, options), options), options.limit):
        if line.problem is None:
            yield line
        else:
            yield line._replace(problem=line.problem.model_copy(update={"file": source.name}))


def _packed(source: Source, options: ReadOptions) -> Iterator[Line]:
    """Yield rows as they are packed. Where the bytes end too early, that is the last line's problem."""
    name = options.container or container_of(source)
    number = 0
    try:
        for line in _built(containers, name, split=options.split).lines(source):
            number = line.number
            yield line
    except InvalidInput as error:
        if error.code not in rules():
            raise
        yield Line(number + 1, None, problem(error.code, number + 1, error.message))


def _shaped(lines: Iterator[Line], options: ReadOptions) -> Iterator[Line]:
    """Yield rows in OpenAI's shape; the first row says what shape they have."""
    name = options.format or (FALLBACK if options.template is not None else None)
    shape: Format | None = None
    for line in lines:
        if line.row is None:
            yield line
            continue
        if shape is None:
            name = name or format_of(line.row)
            shape = _built(formats, name, template=options.template)
        try:
            row = shape.read(line.row)
        except InvalidInput as error:
            found = _misshapen(line, str(name), error, is_told=options.format is None)
            yield Line(line.number, None, found)
        else:
            yield line if row is line.row else Line(line.number, row, line.problem)


def _misshapen(line: Line, name: str, error: InvalidInput, *, is_told: bool) -> Problem:
    assert line.row is not None
    if error.code in rules():
        return problem(str(error.code), line.number, error.message)
    other = format_of(line.row)
    if is_told and other not in (name, FALLBACK):
        words = f"looks like {other}, and the rows before it like {name}"
        return problem("mixed-formats", line.number, words)
    return problem("shape-invalid", line.number, f"{error.message}, as {name} needs it")


def _built(family: ModuleType, name: str, **given: Any) -> Any:
    """Return a plugin with what it can be told.

    Raises:
        InvalidInput: it was told something that it knows nothing of.

    """
    plugin = plugins.load(family, name)
    told = {key: value for key, value in given.items() if value is not None}
    for key in told.keys() - plugin.Params.model_fields:
        raise InvalidInput(f"A {key} means nothing to {name!r}: leave it out.")
    return plugin.build(plugin.Params(**told))
