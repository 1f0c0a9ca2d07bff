"""Near-duplicates: texts that share most of their words, found among a million in seconds.

Two texts are near when the Jaccard index of their sets of words (`words.py`) is at least the
threshold. Every pair is verified by its exact index, so that none is wrong; and none is missed, but
where more than a thousand texts are made from one pattern (`candidates.py`). Texts with the same
normal form are one text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.data.likeness.candidates import Sides, few_words_apart, most_apart, one_word_apart
from selftune.data.likeness.word_sets import (
    Integers,
    WordSets,
    bits_apart,
    first_on,
    sets_of,
    similarities,
    sketches,
)

THRESHOLD = 0.8
"""Share of words in common from which two texts are near: one word of ten may differ."""
_PARTNERS = 5
"""Pairs of a text across sides that are listed in any case."""
LOWEST_THRESHOLD = 0.5
"""Below, half of the words differ, and most texts about one thing would be near."""


class Pair(NamedTuple):
    """Two texts that are near, by their positions."""

    first: int
    second: int
    similarity: float
    """Jaccard index of their words; 1.0 when they are equal."""


def clusters(
    texts: Sequence[str], threshold: float = THRESHOLD, kinds: Sequence[str] | None = None
) -> list[int]:
    """Return for each text the position of the first text of its cluster.

    A cluster is everything that pairs of near texts connect, in however many steps.
    """
    sets = sets_of(texts, kinds)
    roots = _Links(sets, threshold).find().roots()
    first: list[int] = sets.first[roots][sets.form_of].tolist()
    return first


def near_pairs(
    texts: Sequence[str], threshold: float = THRESHOLD, kinds: Sequence[str] | None = None
) -> list[Pair]:
    """Return pairs of near texts, enough to connect every cluster; `first` is before `second`.

    Texts of the same normal form are paired with the first of them, at a similarity of 1. With
    `kinds`, one for each text, only texts of the same kind are compared.
    """
    sets = sets_of(texts, kinds)
    first = sets.first[sets.form_of]
    equal = np.flatnonzero(first != np.arange(len(first)))
    pairs = [Pair(int(first[at]), int(at), 1.0) for at in equal]
    links = _Links(sets, threshold).find()
    return sorted(pairs + [_ordered(sets, *link) for link in links.kept])


def near_pairs_between(
    texts: Sequence[str], others: Sequence[str], threshold: float = THRESHOLD
) -> list[Pair]:
    """Return near pairs of a text (`first`) and one of the others (`second`).

    Every text that is near to one of the other side is in a pair; a pair is left out only where both
    are in five others. Where texts of one side have the same normal form, the first stands for all.
    """
    sets = sets_of([*texts, *others])
    count = len(texts)
    here, there = first_on(sets, 0, count), first_on(sets, count, len(sets.form_of))
    both = np.flatnonzero((here >= 0) & (there >= 0))
    pairs = [Pair(int(here[form]), int(there[form]) - count, 1.0) for form in both]
    for i, j, alike in _Links(sets, threshold, (here >= 0, there >= 0)).find().kept:
        for ours, theirs in ((i, j), (j, i)):
            if here[ours] >= 0 and there[theirs] >= 0:
                pairs.append(Pair(int(here[ours]), int(there[theirs]) - count, alike))
    return sorted(pairs)


class _Links:
    """Near pairs of forms that were found so far, and the clusters that they make.

    With `sides` (which forms are on one side, which on the other) it keeps pairs across them; without,
    only pairs that connect two clusters.
    """

    def __init__(self, sets: WordSets, threshold: float, sides: Sides | None = None) -> None:
        if not LOWEST_THRESHOLD <= threshold <= 1:
            raise InvalidInput(
                f"The threshold {threshold!r} of near-duplicates must be from {LOWEST_THRESHOLD} to 1."
            )
        self.sets = sets
        self.sizes = sets.sizes
        self.threshold = threshold
        self.sides = sides
        self.kept: list[tuple[int, int, float]] = []
        self._cluster = np.arange(len(self.sizes))
        self._sketches = sketches(sets)
        self._partners = np.zeros(len(self.sizes), dtype=np.int64)
        self._known: set[tuple[int, int]] = set()

    def find(self) -> "_Links":
        """Find all links."""
        for i, j in one_word_apart(self.sets, self.sides):
            self._keep(i, j)
        for i, j in few_words_apart(self.sets, self.threshold, self.sides):
            self._keep(i, j)
        return self

    def roots(self) -> Integers:
        """Return for each form the first form of its cluster."""
        return self._cluster

    def hopeful(self, i: Integers, j: Integers) -> Integers:
        """Return which pairs are worth a look: not known yet, and alike enough in their sketches."""
        if self.sides is None:
            worth = self._cluster[i] != self._cluster[j]
        else:
            here, there = self.sides
            worth = ((here[i] & there[j]) | (here[j] & there[i])) & (i != j)
            worth &= np.minimum(self._partners[i], self._partners[j]) < _PARTNERS
        worth &= self.sets.kinds[i] == self.sets.kinds[j]
        i, j, at = i[worth], j[worth], np.flatnonzero(worth)
        apart = bits_apart(self._sketches, i, j)
        close = apart <= most_apart(self.threshold, self.sizes[i] + self.sizes[j])
        found: Integers = at[close]
        return found

    def _keep(self, i: Integers, j: Integers) -> None:
        """Verify pairs and keep those that are near."""
        at = self.hopeful(i, j)
        if not at.size:
            return
        low, high = np.minimum(i[at], j[at]), np.maximum(i[at], j[at])
        codes = np.unique(low * len(self.sizes) + high)
        low, high = codes // len(self.sizes), codes % len(self.sizes)
        alike = similarities(self.sets, low, high)
        near = alike >= self.threshold
        for found in zip(
            low[near].tolist(), high[near].tolist(), alike[near].tolist(), strict=True
        ):
            if self._is_news(found[0], found[1]):
                self.kept.append(found)
        if self.sides is None:
            self._flatten()

    def _is_news(self, i: int, j: int) -> bool:
        """Return whether a pair says something; join its clusters."""
        if self.sides is not None:
            if (i, j) in self._known or min(self._partners[i], self._partners[j]) >= _PARTNERS:
                return False
            self._known.add((i, j))
            self._partners[i] += 1
            self._partners[j] += 1
            return True
        a, b = self._root(i), self._root(j)
        self._cluster[max(a, b)] = min(a, b)
        return a != b

    def _root(self, form: int) -> int:
        cluster = self._cluster
        while cluster[form] != form:
            cluster[form] = cluster[cluster[form]]
            form = int(cluster[form])
        return form

    def _flatten(self) -> None:
        while True:
            further = self._cluster[self._cluster]
            if np.array_equal(further, self._cluster):
                return
            self._cluster = further


def _ordered(sets: WordSets, i: int, j: int, alike: float) -> Pair:
    first, second = sorted((int(sets.first[i]), int(sets.first[j])))
    return Pair(first, second, alike)
