"""All rows of a source, as they will be written, as they stood, and where."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from selftune.core.errors import BadRows, InvalidInput
from selftune.core.runfile import Template
from selftune.data.problems import Problem, problem
from selftune.data.read import ReadOptions, read_lines, told
from selftune.data.rows import Row, kind_of
from selftune.data.sources.filling import filled_chat
from selftune.data.sources.format import FALLBACK, load_format


class Sourced(NamedTuple):
    """What was read."""

    rows: list[Row]
    """In OpenAI's shape, as they are written."""
    raw: list[Row]
    """As they stood: a row of fields has more fields than the chat that was made of it."""
    lines: list[int]


def read_source(source: str | Path, read: ReadOptions) -> Sourced:
    """Return training rows.

    Raises:
        BadRows: lines cannot be read, or rows of fields have no template.
        InvalidInput: there are no rows.

    """
    return _read(source, read, filled=True)


def read_tests(source: str | Path, read: ReadOptions) -> Sourced:
    """Return test rows: items stay items, and rows of fields without a template become items.

    Raises:
        BadRows: lines cannot be read.
        InvalidInput: there are no rows.

    """
    return _read(source, ReadOptions(template=read.template), filled=False)


def _read(source: str | Path, read: ReadOptions, *, filled: bool) -> Sourced:
    unfilled = read.model_copy(update={"template": None})
    if read.template is not None and filled:
        unfilled = unfilled.model_copy(update={"format": read.format or FALLBACK})
    found = Sourced([], [], [])
    wrong: list[Problem] = []
    for line in read_lines(source, unfilled):
        if line.row is None:
            wrong += [line.problem] if line.problem is not None else []
            continue
        try:
            row = _usable(line.row, read.template, filled=filled)
        except InvalidInput as error:
            code = "template-unfilled" if read.template is not None else "shape-invalid"
            place = problem(code, line.number, error.message)
            wrong.append(place.model_copy(update={"file": str(source)}))
            continue
        found.raw.append(line.row)
        found.rows.append(row)
        found.lines.append(line.number)
    if wrong:
        raise BadRows(told(wrong), problems=tuple(wrong))
    if not found.rows:
        raise InvalidInput(f"{source} has no rows.")
    return found


def _usable(row: Row, template: Template | None, *, filled: bool) -> Row:
    """Return a row in the shape in which it is written."""
    kind = kind_of(row)
    if template is not None and (filled or kind == "fields"):
        row = filled_chat(row, template)
    elif kind == "fields" and filled:
        names = ", ".join(map(str, row))
        raise InvalidInput(
            f"The row has no messages, but the fields {names}: say what the messages are with --user "
            "and --assistant"
        )
    kind = kind_of(row)
    return _shape("item" if kind == "fields" else kind).write(row)


_shape = cache(load_format)
