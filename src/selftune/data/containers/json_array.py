"""A JSON array of objects, read element by element: a file of any size in constant memory."""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from selftune.core.records import Record
from selftune.data.problems import problem
from selftune.data.rows import Line, Row
from selftune.data.sources.json_rows import MAX_BYTES, json_line, parse_row
from selftune.data.sources.source import Source

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK_BYTES = 1 << 20
# A string that spans lines is wrong, but ends at the next quote if that looks like an end; a string
# without a quote that does ends with its line.
_STRING = rb'(?:"(?:[^"\\]++|\\.)*+"(?=\s*[,:\]}])|"(?:[^"\\\n]++|\\.)*+(?:"|(?=\\?\n)))'
_BETWEEN_ELEMENTS = re.compile(rb"(?:[^\"\[\]{},]++|" + _STRING + rb")*+([\[\]{},])")
_IN_ELEMENT = re.compile(rb"(?:[^\"\[\]{}]++|" + _STRING + rb")*+([\[\]{}])")


def _nested(levels: int) -> bytes:
    inner = rb"|[\[{]" + _nested(levels - 1) + rb"[\]}]" if levels else b""
    return rb"(?:[^\"\[\]{}]++|" + _STRING + inner + rb")*+"


_USUAL_LEVELS = 6
# The rest of an element that is not nested deeper than usual, in one step.
_REST = re.compile(_nested(_USUAL_LEVELS) + rb"[\]}]")
_OPENING = re.compile(rb"\s*\[\s*([\[{\]]|$)")
_OPENING_PYTHON = re.compile(rb"\s*\[\s*(\{\s*'|\()")


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "JsonArray":
    """Make the container."""
    del params
    return JsonArray()


class JsonArray:
    """Reads and writes one array."""

    suffixes = (".json",)

    def recognizes(self, source: Source) -> bool:
        head = source.head.removeprefix(_BYTE_ORDER_MARK)
        return _OPENING.match(head) is not None and _OPENING_PYTHON.match(head) is None

    def lines(self, source: Source) -> Iterator[Line]:
        if not source.head.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"["):
            yield _fault(1, "does not begin with [")
            return
        array = _Array(source.stream)
        for piece in array.pieces():
            number = array.line + _blank_lines(piece)
            text = piece.lstrip()
            yield parse_row(text, number) if text else _fault(number, "has a comma too many")
        if not array.is_closed:
            yield array.unfinished()
        elif (line := array.line_of_rest()) is not None:
            yield _fault(line, "is followed by something else")

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> int:
        count = 0
        for row in rows:
            target.write(b",\n" if count else b"[\n")
            target.write(json_line(row).rstrip(b"\n"))
            count += 1
        target.write(b"\n]\n" if count else b"[]\n")
        return count


class _Array:
    """An array that is being read, and where the reading stands."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self.line = 1
        """Line on which the piece that was yielded last, or is read now, begins."""
        self.is_closed = False

    def pieces(self) -> Iterator[bytes]:
        """Yield what stands between the commas of the array itself, blanks included."""
        depth = start = commas = 0
        while not self.is_closed:
            found = (_IN_ELEMENT if depth > 1 else _BETWEEN_ELEMENTS).match(self._buffer, self._at)
            if found is None:
                if not self._read_more(start):
                    return
                start = 0
                continue
            self._at, mark = found.end(), found[1]
            depth += (mark in b"[{") - (mark in b"]}")
            if mark == b"[" and depth == 1:
                start = self._at
                self.line += self._buffer.count(b"\n", 0, start)
            elif depth == 2 and mark in b"[{":
                rest = _REST.match(self._buffer, self._at)
                if rest is not None:
                    self._at, depth = rest.end(), 1
            self.is_closed = depth == 0 and mark == b"]"
            if depth == 0 and not self.is_closed:
                self._buffer = self._buffer[start:]
                return
            if self.is_closed or (mark == b"," and depth == 1):
                piece = self._buffer[start : self._at - 1]
                if commas or not self.is_closed or piece.strip():
                    yield piece
                self.line += piece.count(b"\n")
                start, commas = self._at, commas + 1

    def unfinished(self) -> Line:
        """Return what is wrong with an element that does not end."""
        line = self.line + _blank_lines(self._buffer)
        if len(self._buffer) > MAX_BYTES:
            return Line(line, None, problem("line-too-long", line))
        return _fault(line, "is not closed: what begins here does not end")

    def line_of_rest(self) -> int | None:
        """Return the line of the first thing after the array; None where nothing follows."""
        rest = self._buffer[self._at :]
        while rest:
            self.line += _blank_lines(rest)
            if not rest.isspace():
                return self.line
            rest = self._stream.read(_CHUNK_BYTES)
        return None

    def _read_more(self, start: int) -> bool:
        """Drop what was yielded, and read as much as is kept: long elements cost no more."""
        self._buffer = self._buffer[start:]
        self._at -= start
        if len(self._buffer) > MAX_BYTES:
            return False
        more = self._stream.read(max(_CHUNK_BYTES, len(self._buffer)))
        self._buffer += more
        return bool(more)


def _blank_lines(text: bytes) -> int:
    """Return how many lines end before a text's first word."""
    return text.count(b"\n", 0, len(text) - len(text.lstrip()))


def _fault(line: int, words: str) -> Line:
    return Line(line, None, problem("line-not-json", line, f"The array {words}."))
