"""Whether two models differ, on the same items.

Items on which both do the same say nothing about which is better; only the others are counted.
"""

import itertools
import math

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.bootstrap import bootstrap_mean
from selftune.evaluate.statistics.clusters import Groups, Numbers, Values, cluster_sums
from selftune.evaluate.statistics.distributions import (
    binomial_at,
    binomial_below,
    crossing,
    two_sided_point,
)
from selftune.evaluate.statistics.interval import (
    CONFIDENCE,
    Interval,
    need_count,
    need_same_items,
    need_some,
)

_MOST_ENUMERATED = 16
"""Items whose signs are flipped in every way, 65,536 of them; more are drawn."""
_FLIPS, _LEAST_FLIPS = 10_000, 1000
_WORK = 10**8
"""Signs that are drawn at most, before fewer flips are: 100,000 items are flipped 1,000 times."""
_BLOCK = 1 << 20


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: a binomial test on what differs.

    Where nothing differs there is nothing to tell the two apart by, and the p-value is 1.
    """
    least, n = _discordant(only_first, only_second)
    return min(1.0, 2 * binomial_below(least, n, 0.5))


def mcnemar_mid(only_first: int, only_second: int) -> float:
    """Return the mid-p-value of McNemar's test: less cautious than the exact one.

    Fagerland, Lydersen and Laake (2013), BMC Medical Research Methodology 13:91.
    """
    least, n = _discordant(only_first, only_second)
    if n == 0:
        return 1.0
    at = binomial_at(least, n, 0.5)
    if only_first == only_second:
        return 1 - at / 2
    return 2 * binomial_below(least, n, 0.5) - at


def paired_shares(
    only_first: int, only_second: int, n: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Return the share of the second minus that of the first on the same n items.

    Tango's score interval (1998, Statistics in Medicine 17): without any difference in n items it
    is not a point, but as wide as n allows.

    Raises:
        InvalidInput: there is no item, or more differ than there are.

    """
    need_some(n)
    need_count(only_first + only_second, n, "The number of items that differ")
    value, z = (only_second - only_first) / n, two_sided_point(confidence)
    low = high = value
    if value > -1:
        low = crossing(
            lambda gap: z - difference_score(only_first, only_second, n, gap), -1.0, value
        )
    if value < 1:
        high = crossing(
            lambda gap: -z - difference_score(only_first, only_second, n, gap), value, 1.0
        )
    return Interval(value=value, low=low, high=high, n=n, confidence=confidence)


def difference_score(only_first: int, only_second: int, n: int, gap: float) -> float:
    """Return by how many standard errors the difference is above a supposed one, inside (-1, 1).

    The variance is that of the likeliest table with this difference (Tango 1998, section 3).
    """
    above = only_second - only_first - n * gap
    middle = (2 * n - only_second + only_first) * gap - only_second - only_first
    last = -only_first * gap * (1 - gap)
    root = math.sqrt(max(middle * middle - 8 * n * last, 0.0))
    first_share = (root - middle) / (4 * n)
    variance = n * (2 * first_share + gap * (1 - gap))
    if variance <= 0:
        return 0.0 if above == 0 else math.copysign(math.inf, above)
    return above / math.sqrt(variance)


def paired_difference(
    first: Values,
    second: Values,
    random: np.random.Generator,
    *,
    groups: Groups | None = None,
    bounds: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the mean of second minus first on the same items, with its bootstrap interval.

    `bounds` are of a score, not of the difference; see `bootstrap_mean` for what they are for.

    Raises:
        InvalidInput: the items are not the same, or there are none; or no two items differ and no
            bounds are given.

    """
    reach = None if bounds is None else bounds[1] - bounds[0]
    return bootstrap_mean(
        differences(first, second),
        random,
        groups=groups,
        bounds=None if reach is None else (-reach, reach),
        confidence=confidence,
    )


def sign_flip(
    first: Values,
    second: Values,
    random: np.random.Generator,
    *,
    groups: Groups | None = None,
) -> float:
    """Return the two-sided p-value of the permutation test on paired scores.

    If the two models were the same, each item's difference could as well have had the other sign;
    with groups, each group's. All flips are tried for up to 16 items that differ; above, up to 10,000 are
    drawn, and fewer for more than 10,000 kinds of differences, with the observed one counted (Phipson and Smyth 2010), so it is never 0.

    Raises:
        InvalidInput: the items are not the same, or there are none.

    """
    sums, _ = cluster_sums(differences(first, second), groups)
    moved = np.abs(sums[sums != 0])
    # Sums of the same numbers in another order differ in their last bits.
    least = abs(float(sums.sum())) - 1e-9 * float(moved.sum())
    if len(moved) <= _MOST_ENUMERATED:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(moved))))
        return float((np.abs(signs @ moved) >= least).mean())
    return _drawn(moved, least, random)


def differences(first: Values, second: Values) -> Numbers:
    """Return second minus first, item by item.

    Raises:
        InvalidInput: the items are not the same.

    """
    need_same_items(len(first), len(second))
    return np.asarray(second, np.float64) - np.asarray(first, np.float64)


def _drawn(moved: Numbers, least: float, random: np.random.Generator) -> float:
    """Return the share of drawn flips, and of the observed one, whose sum is as far from 0."""
    kinds, counts = np.unique(moved, return_counts=True)
    flips = min(_FLIPS, max(_LEAST_FLIPS, _WORK // len(kinds)))
    count, step = 1, max(1, _BLOCK // len(kinds))
    for start in range(0, flips, step):
        shape = min(step, flips - start), len(kinds)
        if len(kinds) == len(moved):
            drawn = random.integers(0, 256, (shape[0], -(-shape[1] // 8)), np.uint8)
            up = np.unpackbits(drawn, axis=1)[:, : shape[1]].astype(np.int64)
        else:
            # Of equal differences, only how many stay up matters.
            up = random.binomial(counts, 0.5, shape)
        count += int((np.abs((2 * up - counts) @ kinds) >= least).sum())
    return count / (1 + flips)


def _discordant(only_first: int, only_second: int) -> tuple[int, int]:
    if only_first < 0 or only_second < 0:
        raise InvalidInput("A count of items cannot be below 0.")
    return min(only_first, only_second), only_first + only_second
