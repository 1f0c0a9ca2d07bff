"""A finite set of answers as a tree of tokens: exact next-token probabilities of any prefix.

An answer's path is its canonical o200k encoding and an end mark. Paths are sorted once, so the
answers that share a prefix are a contiguous range, and the probability of a token after a prefix is
the sum over a range divided by the sum over a larger one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from selftune.models.tokens import encode

END = -1
"""The token after the last: it ends the answer and is never counted."""


class Distribution(Protocol):
    """A distribution over token sequences, asked one token at a time."""

    def start(self) -> object:
        """Return the state before the first token."""
        ...

    def following(self, state: object) -> tuple[np.ndarray, np.ndarray]:
        """Return possible next tokens, ascending, and their probabilities, which sum to one."""
        ...

    def advance(self, state: object, token: int) -> object | None:
        """Return the state after a token, or None when this token cannot follow."""
        ...


def probability(distribution: Distribution, state: object, token: int) -> float:
    """Return the probability that a token comes next."""
    tokens, probabilities = distribution.following(state)
    at = int(np.searchsorted(tokens, token))
    return float(probabilities[at]) if at < len(tokens) and tokens[at] == token else 0.0


def text_probability(distribution: Distribution, text: str) -> float:
    """Return the probability of a text in its canonical tokens, end included."""
    state: object | None = distribution.start()
    product = 1.0
    for token in (*encode(text), END):
        likely = probability(distribution, state, token)
        if likely == 0:
            return 0.0
        product *= likely
        if token != END:
            state = distribution.advance(state, token)
    return product


@dataclass(frozen=True)
class _Node:
    """The answers with one prefix: a range of the sorted paths, and the depth of the prefix."""

    low: int
    high: int
    depth: int


class Paths:
    """The sorted paths of a set of answers, shared by all requests."""

    def __init__(self, texts: Sequence[str]) -> None:
        paths = [(*encode(text), END) for text in texts]
        self._order = np.array(sorted(range(len(paths)), key=paths.__getitem__), np.int64)
        self._paths = [paths[index] for index in self._order]
        self._children: dict[_Node, tuple[np.ndarray, np.ndarray]] = {}

    def with_probabilities(self, probabilities: np.ndarray) -> "AnswerDistribution":
        """Return the distribution that gives each text, in its original order, its probability."""
        return AnswerDistribution(self, probabilities[self._order])

    def __len__(self) -> int:
        return len(self._paths)

    def children(self, node: _Node) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens that can follow a prefix, and where each one's range begins."""
        found = self._children.get(node)
        if found is None:
            tokens = np.array(
                [self._paths[index][node.depth] for index in range(node.low, node.high)], np.int64
            )
            starts = np.flatnonzero(np.r_[True, tokens[1:] != tokens[:-1]])
            found = self._children[node] = (tokens[starts], starts)
        return found

    def root(self) -> _Node:
        """Return the node of the empty prefix."""
        return _Node(0, len(self._paths), 0)

    def child(self, node: _Node, token: int) -> _Node | None:
        """Return the node after a token, if any answer has it there."""
        tokens, starts = self.children(node)
        at = int(np.searchsorted(tokens, token))
        if at == len(tokens) or tokens[at] != token:
            return None
        end = node.low + int(starts[at + 1]) if at + 1 < len(starts) else node.high
        return _Node(node.low + int(starts[at]), end, node.depth + 1)


class AnswerDistribution:
    """One request's distribution over the answers."""

    def __init__(self, paths: Paths, probabilities: np.ndarray) -> None:
        self._paths, self._probabilities = paths, probabilities

    def start(self) -> _Node:
        """Return the state before the first token."""
        return self._paths.root()

    def following(self, state: object) -> tuple[np.ndarray, np.ndarray]:
        """Return possible next tokens and their probabilities."""
        assert isinstance(state, _Node)
        tokens, starts = self._paths.children(state)
        if len(tokens) == 1:
            return tokens, np.ones(1)
        masses = np.add.reduceat(self._probabilities[state.low : state.high], starts)
        total = masses.sum()
        if total <= 0:  # every answer here underflowed: none is likelier than another
            return tokens, np.full(len(tokens), 1 / len(tokens))
        return tokens, masses / total

    def advance(self, state: object, token: int) -> _Node | None:
        """Return the state after a token, or None when this token cannot follow."""
        assert isinstance(state, _Node)
        return self._paths.child(state, token)
