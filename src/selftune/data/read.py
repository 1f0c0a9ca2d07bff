"""A source of any known shape -> rows in OpenAI's shape, chosen by what is in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import Template
from selftune.data import formats
from selftune.data.rows import Line, Row

_SNIFFED_BYTES = 4096


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
    del options
    for number, row in enumerate(read_file(Path(source)), start=1):
        yield Line(number, row)


def read_rows(source: str | Path, options: ReadOptions | None = None) -> list[Row]:
    """Return the rows of a source.

    Raises:
        InvalidInput: it is not there, has no rows, or a line cannot be read; names file and line.

    """
    rows: list[Row] = []
    for line in read_lines(source, options):
        if line.problem is not None:
            raise InvalidInput(f"{source}, line {line.number}: {line.problem.message}")
        assert line.row is not None
        rows.append(line.row)
    return rows


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file.

    Raises:
        InvalidInput: it is not there, or a line cannot be read; names file and line.

    """
    try:
        with path.open("rb") as handle:
            head = handle.read(_SNIFFED_BYTES)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    name, arguments = _format_of(path, head)
    plugin = plugins.load(formats, name)
    try:
        rows: list[dict[str, Any]] = plugin.build(plugin.Params(**arguments)).read(path)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: {error.reason}.") from error
    if not rows:
        raise InvalidInput(f"{path} has no rows.")
    return rows


def _format_of(path: Path, head: bytes) -> tuple[str, dict[str, Any]]:
    if path.suffix.lower() in (".csv", ".tsv"):
        return "table", {"delimiter": "\t" if path.suffix.lower() == ".tsv" else ","}
    return ("chat_array" if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" else "chat"), {}
