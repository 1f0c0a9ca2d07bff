"""What is found in the content of texts, and how many texts are searched at once.

Scanners first look for signs in all texts together, in one buffer, at the speed of memory; only the
texts that hold a sign are looked at closely. So the cost is that of the data that is suspect.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

_WINDOW = 1 << 18
"""Bytes that are compared at once: few enough to stay in the processor's cache."""

_PADDING = "\n" * 32


class Finding(NamedTuple):
    """One thing that was found in one text. It says what kind it is and where, never what it is."""

    text_index: int
    """Of the text in what was searched, counted from 0."""
    rule: str
    kind: str
    start: int
    """Characters before it in its text."""
    length: int

    def overlaps(self, other: "Finding") -> bool:
        """Say whether two findings of one text share characters."""
        return self.start < other.start + other.length and other.start < self.start + self.length


class Joined(NamedTuple):
    """Many texts in one buffer."""

    texts: Sequence[str]
    buffer: bytes
    """The texts in UTF-8, each followed by a newline; lone surrogates are encoded like others.

    It ends with more newlines, so that a look a few bytes ahead stays inside.
    """
    starts: Positions
    """Where each text begins in the buffer."""

    def holding(self, positions: Positions) -> list[int]:
        """Return the texts that hold these positions, each once, in order."""
        held = np.searchsorted(self.starts, positions, side="right") - 1
        indexes: list[int] = np.unique(held).tolist()
        return indexes

    def text_at(self, position: int) -> int:
        """Return the text that holds a position."""
        return int(np.searchsorted(self.starts, position, side="right")) - 1

    def finding(self, rule: str, kind: str, begin: int, end: int) -> Finding:
        """Return what was found between two positions of the buffer."""
        index = self.text_at(begin)
        before = self.buffer[self.starts[index] : begin].decode("utf-8", "surrogatepass")
        length = len(self.buffer[begin:end].decode("utf-8", "surrogatepass"))
        return Finding(index, rule, kind, len(before), length)

    def positions(self, byte: bytes) -> Positions:
        """Return where a byte stands in the buffer."""
        if byte not in self.buffer:
            return np.empty(0, np.int64)
        return np.flatnonzero(np.frombuffer(self.buffer, np.uint8) == ord(byte))

    def pairs(self, first: int, lowest: int, highest: int) -> Positions:
        """Return where a byte stands that is followed by one of a range."""
        everything = np.frombuffer(self.buffer, np.uint8)
        at = np.flatnonzero(everything == first)
        second = everything[at + 1]
        return at[(second >= lowest) & (second <= highest)]

    def windows(self, overlap: int = 0) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the buffer in pieces, each with its position and some bytes of the next one."""
        everything = np.frombuffer(self.buffer, np.uint8)
        for position in range(0, len(everything), _WINDOW):
            yield position, everything[position : position + _WINDOW + overlap]


def join(texts: Sequence[str]) -> Joined:
    """Return texts in one buffer."""
    if all(map(str.isascii, texts)):
        lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
        buffer = "\n".join([*texts, _PADDING]).encode()
        return Joined(texts, buffer, np.cumsum(lengths) - lengths)
    try:
        encoded = list(map(str.encode, texts))
    except UnicodeEncodeError:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded)) + 1
    return Joined(texts, b"\n".join([*encoded, _PADDING.encode()]), np.cumsum(lengths) - lengths)
