"""JSON Lines: one object on each line. Also reads whatever nothing else recognises."""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from selftune.core.records import Record
from selftune.data.problems import problem
from selftune.data.rows import Line, Row
from selftune.data.sources.json_rows import MAX_BYTES, json_line, parse_row
from selftune.data.sources.source import Source

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SKIPPED_BYTES = 1 << 20
_OBJECT = re.compile(rb"\{(?!\s*'|\0)")
"""Python's mappings begin with another quote, text in UTF-16 has a zero there."""


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "JsonLines":
    """Make the container."""
    del params
    return JsonLines()


class JsonLines:
    """Reads and writes lines."""

    suffixes = (".jsonl", ".ndjson")

    def recognizes(self, source: Source) -> bool:
        first = source.head.removeprefix(_BYTE_ORDER_MARK).lstrip()
        return _OBJECT.match(first) is not None

    def lines(self, source: Source) -> Iterator[Line]:
        stream, number = source.stream, 0
        while text := stream.readline(MAX_BYTES + 1):
            number += 1
            if len(text) > MAX_BYTES:
                yield Line(number, None, problem("line-too-long", number))
                _skip_line(stream)
                continue
            if number == 1:
                text = text.removeprefix(_BYTE_ORDER_MARK)
            if not text.isspace():
                yield parse_row(text, number)

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> int:
        count = 0
        for row in rows:
            target.write(json_line(row))
            count += 1
        return count


def _skip_line(stream: BinaryIO) -> None:
    while rest := stream.readline(_SKIPPED_BYTES):
        if rest.endswith(b"\n"):
            return
