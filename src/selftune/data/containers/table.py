"""Comma- or tab-separated values under a header line: one row of texts each."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.problems import problem
from selftune.data.rows import Line, Row
from selftune.data.sources.json_rows import MAX_BYTES
from selftune.data.sources.source import Source

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_FIELD = 16_000_000
"""Longest field, in characters: what a quote that is never closed swallows, at four bytes each."""
_DELIMITERS = ",\t;|"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NOT_A_TABLE = (b"{", b"[", b"(", b"#", b"<", b'"""')
_OTHER_SUFFIXES = (".jsonl", ".ndjson", ".json", ".py")


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Table":
    """Make the container."""
    del params
    return Table()


class Table:
    """Reads and writes lines of fields; the header says which character separates them."""

    suffixes = (".csv", ".tsv")

    def recognizes(self, source: Source) -> bool:
        head = source.head.removeprefix(_BYTE_ORDER_MARK)
        header = head.partition(b"\n")[0].decode(errors="replace")
        if not head or "\0" in header or head.lstrip().startswith(_NOT_A_TABLE):
            return False
        is_separated = any(delimiter in header for delimiter in _DELIMITERS)
        return source.suffix in self.suffixes or (
            is_separated and "=" not in header and source.suffix not in _OTHER_SUFFIXES
        )

    def lines(self, source: Source) -> Iterator[Line]:
        csv.field_size_limit(_MAX_FIELD)  # the library's own limit is 128 KiB
        texts = _texts(source.stream)
        beginning = _to_first_word(texts)
        delimiter = _delimiter(beginning[-1])
        reader = csv.reader(chain(beginning, texts), delimiter=delimiter, strict=True)
        names = _names(source.name, reader)
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                words = f"The record is not comma-separated: {error}."
                yield Line(number, None, problem("record-invalid", number, words))
                continue
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                yield _line(number, names, cells)

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> int:
        text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
        delimiter = "\t" if suffix == ".tsv" else ","
        plain = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        quoting = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        names, count = list[str](), 0
        for row in rows:
            if not names:
                names = list(row)
                plain.writerow(names)
            cells = _cells(names, row)
            # The library leaves a lone carriage return bare, and would not read it again.
            (quoting if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)
            count += 1
        text.detach()
        return count


def _texts(stream: BinaryIO) -> Iterator[str]:
    """Yield lines; bytes that are not UTF-8 stay visible as surrogates."""
    first = True
    while line := stream.readline(MAX_BYTES + 1):
        if first:
            line, first = line.removeprefix(_BYTE_ORDER_MARK), False
        yield line.decode(errors="surrogateescape")


def _to_first_word(texts: Iterator[str]) -> list[str]:
    """Return the first line that is not blank, and the blank ones before it."""
    beginning = [""]
    for text in texts:
        beginning.append(text)
        if text.strip():
            break
    return beginning[1:] or beginning


def _delimiter(header: str) -> str:
    bare = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=bare.count)


def _names(source: str, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next((cells for cells in reader if any(map(str.strip, cells))), [])
    except csv.Error as error:
        raise InvalidInput(f"{source}, line 1: the header cannot be read: {error}.") from error
    names = [name.strip() or f"column_{number}" for number, name in enumerate(header, start=1)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InvalidInput(f"{source}, line 1: the header names {min(twice)!r} twice.")
    if not _is_utf8("".join(names)):
        raise InvalidInput(f"{source}, line 1: the header is not UTF-8. Save the file as UTF-8.")
    return names


def _line(number: int, names: list[str], cells: list[str]) -> Line:
    if len(cells) != len(names):
        words = f"The record has {len(cells)} fields, the header {len(names)}."
        return Line(number, None, problem("record-invalid", number, words))
    for name, cell in zip(names, cells, strict=True):
        if not _is_utf8(cell):
            words = f"The field {name!r} is not UTF-8 text."
            return Line(number, None, problem("line-not-utf8", number, words))
    return Line(number, dict(zip(names, cells, strict=True)))


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _cells(names: list[str], row: Row) -> list[object]:
    if list(row) != names:
        raise InvalidInput(
            f"A table has the same fields in every row: {', '.join(names)}; one row has "
            f"{', '.join(row)}."
        )
    for name, value in row.items():
        if isinstance(value, dict | list):
            raise InvalidInput(
                f"A table holds texts and numbers, and {name!r} is neither. Choose flat rows with "
                "--to completion, --to alpaca or --to fields, or write .jsonl."
            )
    return list(row.values())
