"""A stream of bytes -> pieces of whole lines, none of which is larger than memory allows."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from selftune.data.json_rows import MAX_BYTES


class Lines(NamedTuple):
    """Some whole lines."""

    data: bytes
    first: int
    """Number of the first line, counted from 1."""
    is_too_long: bool = False
    """It is one line that is longer than any row may be, and `data` is empty."""


def lines_in_pieces(stream: BinaryIO, size: int) -> Iterator[Lines]:
    """Yield lines in pieces of about so many bytes; a longer line makes a piece of its own."""
    number, held = 1, 0
    rest: list[bytes] = []
    while data := stream.read(size):
        end = data.find(b"\n") + 1
        if end and held + end > MAX_BYTES:
            yield Lines(b"", number, is_too_long=True)
            number, data, rest, held = number + 1, data[end:], [], 0
        cut = data.rfind(b"\n") + 1
        if cut:
            piece = b"".join([*rest, data[:cut]])
            yield Lines(piece, number)
            number += piece.count(b"\n")
            rest, held = [], 0
        rest.append(data[cut:])
        held += len(data) - cut
        if held > MAX_BYTES:
            yield Lines(b"", number, is_too_long=True)
            rest = [_after_newline(stream)]
            number, held = number + 1, len(rest[0])
    if held:
        yield Lines(b"".join(rest), number)


def _after_newline(stream: BinaryIO) -> bytes:
    """Skip the rest of a line; return what was read of the next."""
    while data := stream.read(1 << 20):
        cut = data.find(b"\n") + 1
        if cut:
            return data[cut:]
    return b""
