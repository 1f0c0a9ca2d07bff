"""The best of many against one: chosen after looking, so a plain test would call luck a gain."""

from collections.abc import Sequence

import numpy as np

from selftune.evaluate.statistics.clusters import Groups, Numbers, cluster_sums
from selftune.evaluate.statistics.interval import need_same_items, need_some

_FLIPS = 10_000
_BLOCK = 1 << 22
"""Numbers that are drawn at once."""


def best_of_many(
    one: Sequence[float],
    others: Sequence[Sequence[float]],
    random: np.random.Generator,
    *,
    groups: Groups | None = None,
) -> float:
    """Return how often the best of the others would beat the one by as much, if all were equal.

    Scores of the same items; more is better. The permutation test of the largest gain (Westfall and
    Young 1993): an item's differences to all others change sign together, so that others that are
    alike count as few. One-sided, and the observed one is counted, so it is never 0.

    Raises:
        InvalidInput: the items are not the same; there are none, or no others.

    """
    need_some(len(others))
    for other in others:
        need_same_items(len(one), len(other))
    gains = np.array(
        [
            cluster_sums([b - a for a, b in zip(one, other, strict=True)], groups)[0]
            for other in others
        ]
    )
    # Sums of the same numbers in another order differ in their last bits.
    least = float(gains.sum(1).max()) - 1e-9 * float(np.abs(gains).sum(1).max())
    return (1 + _as_good(gains, least, random)) / (1 + _FLIPS)


def _as_good(gains: Numbers, least: float, random: np.random.Generator) -> int:
    """Return how many drawn flips give a largest gain that is as good."""
    moved = gains[:, (gains != 0).any(0)]
    count, step = 0, max(1, _BLOCK // max(1, moved.shape[1]))
    for start in range(0, _FLIPS, step):
        size = (min(step, _FLIPS - start), moved.shape[1])
        signs = random.integers(0, 2, size) * 2.0 - 1.0
        count += int(((signs @ moved.T).max(1) >= least).sum())
    return count
