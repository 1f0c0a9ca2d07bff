"""Which of many sets of words may be near: few enough to look at, and none that is near left out.

`one_word_apart` finds those that become equal when each loses at most one word, `few_words_apart` the
rest: if two sets differ in at most H words, and the words are dealt by a hash into H + k piles, then k
piles are equal in both (Arasu, Ganti, Kaushik: Efficient Exact Set-Similarity Joins, VLDB 2006).
"""

from collections.abc import Iterator
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np

from selftune.data.likeness.word_sets import Integers, WordSets, mixed, places_of

Candidates = Iterator[tuple[Integers, Integers]]
Sides = tuple[Integers, Integers]
"""Which forms are on one side, and which on the other."""

_LONG = 32
"""Words from which sizes are taken together; below, each pair of sizes is joined by itself."""
_CROWD = 1000
"""Texts with one key from which they are taken to be made from one pattern."""
_FEW = 1 << 16
"""Pairs that are looked at one by one sooner than by their piles."""
_CHUNK = 1 << 20
_ROUNDING = 1e-9


def most_apart(threshold: float, both: Any) -> Any:
    """Return how many words may be in one of two sets only, given both sizes together.

    From |A & B| / |A | B| >= t follows |A ^ B| <= (|A| + |B|) (1 - t) / (1 + t).
    """
    return np.floor(both * (1 - threshold) / (1 + threshold) + _ROUNDING).astype(np.int64)


def one_word_apart(sets: WordSets, sides: Sides | None) -> Candidates:
    """Yield pairs that become equal when each loses at most one word, enough to connect them.

    The keys of a set are the sum of its words' numbers, and the same without each one of them. Sets
    with the same key are paired with the first among them, whole sets before those that lost a word.
    """
    filled = np.flatnonzero(sets.sizes)
    if not len(filled):
        return
    whole = np.add.reduceat(np.append(sets.hashes, np.uint64(0)), sets.starts[:-1]) + sets.kinds
    short = filled[sets.sizes[filled] <= _LONG]  # of long sets, piles find what lost a word
    owners = np.repeat(short, sets.sizes[short])
    lost = whole[owners] - sets.hashes[places_of(sets, short)]
    keys, forms = np.concatenate([whole[filled], lost]), np.concatenate([filled, owners])
    del whole, owners, lost
    order = np.argsort(keys, kind="stable")  # whole sets come first
    keys, forms = keys[order], forms[order]
    is_first = np.append(True, keys[1:] != keys[:-1])
    groups = np.cumsum(is_first) - 1
    if sides is None:
        yield from _chunks(forms[np.flatnonzero(is_first)][groups], forms)
        return
    for side, other in (sides, sides[::-1]):
        leaders = np.full(groups[-1] + 1, -1, dtype=np.int64)
        on_side = np.flatnonzero(side[forms])[::-1]
        leaders[groups[on_side]] = forms[on_side]  # the last that is written is the first
        across = np.flatnonzero(other[forms] & (leaders[groups] >= 0))
        yield from _chunks(leaders[groups[across]], forms[across])


def _chunks(i: Integers, j: Integers) -> Candidates:
    for at in range(0, len(i), _CHUNK):
        a, b = i[at : at + _CHUNK], j[at : at + _CHUNK]
        yield a[a != b], b[a != b]


def few_words_apart(sets: WordSets, threshold: float, sides: Sides | None) -> Candidates:
    """Yield pairs of sets that share enough piles of words."""
    sizes = sets.sizes
    order = np.argsort(sizes, kind="stable")
    ordered = sizes[order]

    def of_sizes(low: int, high: int) -> Integers:
        begin, end = np.searchsorted(ordered, [low, high + 1])
        found: Integers = order[begin:end]
        return found

    for smaller, larger in _size_pairs(int(sizes.max(initial=0)), threshold):
        apart = int(most_apart(threshold, smaller[1] + larger[1]))
        if smaller[0] == smaller[1] and larger[0] == larger[1]:
            apart -= (apart - smaller[0] - larger[0]) % 2  # as odd as the sizes together
        left, right = of_sizes(*smaller), of_sizes(*larger)
        if apart == 0 and sides is None:
            continue  # equal sets are connected already
        if len(left) * len(right) <= _FEW:
            yield np.repeat(left, len(right)), np.tile(right, len(left))
        else:
            yield from _sharing_piles(sets, left, right, apart)


def _size_pairs(most: int, threshold: float) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield ranges of sizes of a smaller and a larger set that can be near."""
    low = 1
    while low <= most:
        high = low if low <= _LONG else int(low * 1.05)
        least = ceil(threshold * low - _ROUNDING)
        if low <= _LONG:
            yield from (((size, size), (low, low)) for size in range(least, low + 1))
        else:
            yield (least, high), (low, high)
        low = high + 1


def _sharing_piles(sets: WordSets, left: Integers, right: Integers, apart: int) -> Candidates:
    alike = 3 if apart <= 3 else 2 if apart <= 8 else 1
    piles = apart + alike
    ours = _pile_sums(sets, left, piles)
    theirs = _pile_sums(sets, right, piles)
    for chosen in combinations(range(piles), alike):
        keys = [
            mixed(sums[:, chosen].sum(axis=1, dtype=np.uint64) + sets.kinds[forms])
            for sums, forms in ((ours, left), (theirs, right))
        ]
        for i, j in _join(*keys):
            yield left[i], right[j]


def _pile_sums(sets: WordSets, forms: Integers, piles: int) -> Integers:
    """Return for each form the sums of its words' numbers in each pile."""
    found = sets.hashes[places_of(sets, forms)]
    owners = np.repeat(np.arange(len(forms)) * piles, sets.sizes[forms])
    lanes = owners + (mixed(found) % np.uint64(piles)).astype(np.int64)
    sums = np.zeros(len(forms) * piles, dtype=np.uint64)
    np.add.at(sums, lanes, found)
    return sums.reshape(len(forms), piles)


def _join(ours: Integers, theirs: Integers) -> Candidates:
    """Yield all positions with equal keys; keys that a crowd has are left out.

    A crowd's members share most of their words, but not as many as near texts do ("What is the
    capital of X?"); looking at all their pairs would take time with the square of their number.
    Those that are one word apart are found without.
    """
    order_ours, order_theirs = np.argsort(ours), np.argsort(theirs)
    wanted, keys = ours[order_ours], theirs[order_theirs]
    begins = np.searchsorted(keys, wanted, side="left")
    counts = np.searchsorted(keys, wanted, side="right") - begins
    counts[counts > _CROWD] = 0
    kept = np.flatnonzero(counts)
    order_ours, begins, counts = order_ours[kept], begins[kept], counts[kept]
    volume = np.cumsum(counts)
    at = 0
    while at < len(counts):
        past = volume[at - 1] if at else 0
        end = max(at + 1, int(np.searchsorted(volume, past + _CHUNK)))
        many, begin = counts[at:end], begins[at:end]
        places = np.arange(many.sum()) + np.repeat(begin - (np.cumsum(many) - many), many)
        yield np.repeat(order_ours[at:end], many), order_theirs[places]
        at = end
