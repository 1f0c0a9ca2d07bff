"""A stream of bytes -> pieces of whole lines, none of which is larger than memory allows."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from selftune.data.sources.json_rows import MAX_BYTES


class Lines(NamedTuple):
    """Some whole lines."""

    data: bytes
    first: int
    """Number of the first line, counted from 1."""
    offset: int = 0
    """Bytes before it in the stream."""
    is_too_long: bool = False
    """It is one line that is longer than any row may be, and `data` is empty."""


def lines_in_pieces(stream: BinaryIO, size: int) -> Iterator[Lines]:
    """Yield lines in pieces of about so many bytes; a longer line makes a piece of its own."""
    number, held, position = 1, 0, 0
    rest: list[bytes] = []
    while data := stream.read(size):
        position += len(data)
        end = data.find(b"\n") + 1
        if end and held + end > MAX_BYTES:
            yield Lines(b"", number, is_too_long=True)
            number, data, rest, held = number + 1, data[end:], [], 0
        cut = data.rfind(b"\n") + 1
        if cut:
            piece = b"".join([*rest, data[:cut]])
            yield Lines(piece, number, position - len(data) + cut - len(piece))
            number += piece.count(b"\n")
            rest, held = [], 0
        rest.append(data[cut:])
        held += len(data) - cut
        if held > MAX_BYTES:
            yield Lines(b"", number, is_too_long=True)
            skipped, start = _after_newline(stream)
            rest, number, held, position = [start], number + 1, len(start), position + skipped
    if held:
        yield Lines(b"".join(rest), number, position - held)


def _after_newline(stream: BinaryIO) -> tuple[int, bytes]:
    """Skip the rest of a line; return how much was read, and what of it belongs to the next."""
    skipped = 0
    while data := stream.read(1 << 20):
        skipped += len(data)
        cut = data.find(b"\n") + 1
        if cut:
            return skipped, data[cut:]
    return skipped, b""
