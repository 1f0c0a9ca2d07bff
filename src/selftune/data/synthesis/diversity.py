"""How different texts are from each other, in figures that can be compared between runs."""

import random
from collections.abc import Sequence
from itertools import pairwise

from selftune.core.records import Record
from selftune.data.likeness.words import similarity, words

_PAIRS = 2000
_OPENING = 3


class Diversity(Record):
    """Figures about a set of texts; None where there are too few to say."""

    texts: int
    distinct_1: float | None
    """Different words as a share of all words (distinct-n, Li and others 2016)."""
    distinct_2: float | None
    """Different pairs of neighbouring words as a share of all pairs."""
    self_similarity: float | None
    """Mean share of words that two texts have in common (Jaccard), over up to 2,000 pairs."""
    openings: float | None
    """Different first three words as a share of the texts."""
    mean_words: float | None
    shortest_words: int | None
    longest_words: int | None


def diversity(texts: Sequence[str], seed: int = 0) -> Diversity:
    """Measure texts; the pairs that are compared are drawn by the seed."""
    split = [words(text) for text in texts]
    lengths = [len(found) for found in split]
    singles = [word for found in split for word in found]
    doubles = [pair for found in split for pair in pairwise(found)]
    openings = [tuple(found[:_OPENING]) for found in split]
    return Diversity(
        texts=len(texts),
        distinct_1=_share(singles),
        distinct_2=_share(doubles),
        self_similarity=_self_similarity(texts, random.Random(seed)),
        openings=_share(openings),
        mean_words=sum(lengths) / len(lengths) if lengths else None,
        shortest_words=min(lengths, default=None),
        longest_words=max(lengths, default=None),
    )


def _share(things: Sequence[object]) -> float | None:
    return len(set(things)) / len(things) if things else None


def _self_similarity(texts: Sequence[str], dice: random.Random) -> float | None:
    if len(texts) < 2:
        return None
    total = 0.0
    if len(texts) * (len(texts) - 1) // 2 <= _PAIRS:
        pairs = [(i, j) for i in range(len(texts)) for j in range(i)]
    else:
        pairs = [tuple(dice.sample(range(len(texts)), 2)) for _ in range(_PAIRS)]  # type: ignore[misc]  # two of them
    for first, second in pairs:
        total += similarity(texts[first], texts[second])
    return total / len(pairs)
