"""What an answer can copy from its question: o200k tokens of the text, and which may follow which.

A word is written with another token after a space than after a quote: ` Patel`, `Patel`. So a
source holds every word both ways, beside the text's own tokens. Units that stand side by side in
the text are linked, and an answer that has copied some of them is known to be on its way.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selftune.models.builtin.encoder import Pieces
from selftune.models.builtin.weights import WIDTH
from selftune.models.tokens import encode, token_bytes

LONGEST_MATCH = 4
"""Copied tokens in a row that are told apart; more count as this many."""
SHAPES = 5
"""Kinds of unit: with a space before, the beginning of a word, the beginning of a figure, within
either, anything else."""
CONTINUATIONS = 1 + SHAPES * (LONGEST_MATCH + 1)
"""Kinds of continuation that `continuing` tells apart."""
_SPACED, _WORD, _FIGURE, WITHIN, _OTHER = range(SHAPES)
_FIRST_OF_MANY = 0x80
"""Bytes from here on belong to a character of several bytes."""
_RUN = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True)
class Source:
    """What one answer can copy."""

    tokens: np.ndarray
    """o200k token of each unit, shape (units,)."""
    shapes: np.ndarray
    """Kind of each unit, shape (units,)."""
    states: np.ndarray
    """The encoder's state over each unit, shape (units, 384), float32."""
    previous: np.ndarray
    """The encoder's state just before each unit, shape (units, 384), float32; zeros at the start.
    It tells where a name begins from where it goes on."""
    links: np.ndarray
    """Pairs of units, the second of which begins where the first ends, shape (2, links)."""

    def grown(self, matched: np.ndarray) -> np.ndarray:
        """Return how many copied tokens in a row each unit would continue, shape (units,)."""
        longest = np.zeros(len(self.tokens), np.int64)
        np.maximum.at(longest, self.links[1], matched[self.links[0]])
        return longest

    def matched(self, grown: np.ndarray, token: int) -> np.ndarray:
        """Return the length of the copy that ends at each unit after a token was written."""
        ends: np.ndarray = np.where(self.tokens == token, grown + 1, 0)
        return ends

    def around(self, lengths: np.ndarray) -> np.ndarray:
        """Return the mean state of the units with the longest copy; zeros when nothing is copied."""
        best = lengths.max(initial=0)
        if best == 0:
            return np.zeros(WIDTH, np.float32)
        mean: np.ndarray = self.states[lengths == best].mean(0)
        return mean


def make_source(text: str, pieces: Pieces, states: np.ndarray) -> Source:
    """Return the units of the part of a text that the encoder read.

    Args:
        text: what the encoder read, whole.
        pieces: its word pieces.
        states: the encoder's last states, shape (pieces, 384).

    """
    spans = np.array(pieces.offsets, np.int64).reshape(-1, 2)
    solid = spans[:, 1] > spans[:, 0]
    spans, states = spans[solid], states[solid]
    if not len(spans):
        empty, nothing = np.zeros(0, np.int64), np.zeros((0, WIDTH), np.float32)
        return Source(empty, empty, nothing, nothing, np.zeros((2, 0), np.int64))
    shown = text[spans[0, 0] : spans[-1, 1]]
    # Tokens may end within a character, so places are counted in bytes.
    place = np.cumsum([0, *(len(letter.encode()) for letter in shown)])
    spans = place[spans - spans[0, 0]]
    units = np.array(_units(shown, place), np.int64)
    tokens, starts, ends, shapes = units.T
    low = np.minimum(np.searchsorted(spans[:, 1], starts, side="right"), len(spans) - 1)
    high = np.maximum(np.searchsorted(spans[:, 0], ends, side="left"), low + 1)
    sums = np.concatenate([np.zeros((1, WIDTH)), np.cumsum(states, axis=0, dtype=np.float64)])
    means = (sums[high] - sums[low]) / (high - low)[:, None]
    return Source(
        tokens=tokens,
        shapes=shapes,
        states=means.astype(np.float32),
        previous=np.where(low[:, None] > 0, states[low - 1], np.float32(0)),
        links=np.stack(np.nonzero(ends[:, None] == starts[None, :])),
    )


def _units(text: str, place: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return (token, start, end, shape) of the text's own tokens and of its words both ways."""
    units = dict.fromkeys(_spell(encode(text), 0))
    begins: dict[int, int] = {}
    for word in _RUN.finditer(text):
        start = int(place[word.start()])
        begins[start] = _FIGURE if word[0][0].isdigit() else _WORD
        units |= dict.fromkeys(_spell(encode(word[0]), start))
        spaced = _spell(encode(" " + word[0]), start - 1)
        if text[word.start() - 1 : word.start()] != " ":
            # The space is not in the text: the first token begins where the word does.
            token, _, end, shape = spaced[0]
            spaced[:1] = [(token, start, end, shape)] if end > start else []
        units |= dict.fromkeys(spaced)
    return [
        (token, start, end, begins.get(start, shape) if shape == WITHIN else shape)
        for token, start, end, shape in sorted(units, key=lambda unit: unit[1:3])
    ]


def _spell(tokens: Sequence[int], start: int) -> list[tuple[int, int, int, int]]:
    """Return tokens with the bytes that they stand for, and their shapes."""
    spelled = []
    for token in tokens:
        raw = token_bytes(token)
        letter = raw[:1].isalnum() or raw[0] >= _FIRST_OF_MANY
        shape = _SPACED if raw[:1] == b" " else WITHIN if letter else _OTHER
        spelled.append((token, start, start + len(raw), shape))
        start += len(raw)
    return spelled


def continuing(source: Source, grown: np.ndarray) -> np.ndarray:
    """Return for each unit which kind of continuation it is; 0 is a unit that cannot come now.

    A copy begins where a word begins: from within a word it can only go on.
    """
    kinds: np.ndarray = continuation(source.shapes, np.minimum(grown, LONGEST_MATCH))
    possible: np.ndarray = np.where((source.shapes == WITHIN) & (grown == 0), 0, kinds)
    return possible


def continuation(shape: Any, length: Any) -> Any:
    """Return the kind of a unit of a shape that continues a copy of so many tokens.

    Shapes and lengths are numbers, or arrays of them.
    """
    return 1 + shape * (LONGEST_MATCH + 1) + length
