"""How sure a mean is, by drawing items again and again from those that there are."""

import math
from typing import Literal

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.clusters import Groups, Numbers, Values, cluster_sums
from selftune.evaluate.statistics.distributions import (
    NORMAL,
    normal_point,
    student_point,
    two_sided_point,
)
from selftune.evaluate.statistics.interval import CONFIDENCE, Interval
from selftune.evaluate.statistics.shares import score_bounds

Method = Literal["percentile", "expanded", "bca"]
_DRAWS, _LEAST_DRAWS = 2000, 1000
_WORK = 10**8
"""Numbers that are drawn at most, before fewer draws are made: 100,000 items are drawn 1,000 times."""
_BLOCK = 1 << 20
"""Numbers drawn at once: memory stays flat, however many items there are."""


def bootstrap_mean(
    values: Values,
    random: np.random.Generator,
    *,
    groups: Groups | None = None,
    bounds: tuple[float, float] | None = None,
    method: Method = "bca",
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return a mean with its bootstrap interval; whole groups are drawn where groups are given.

    `percentile` is Efron's of 1979; `expanded` widens it as Student's t does for few items
    (Hesterberg 2015, The American Statistician 69); `bca` corrects bias and skewness (Efron 1987,
    JASA 82) and is widened in the same way.

    Values that are all the same, or one alone, say nothing of the spread. Where `bounds` tell the
    least and the most that a value can be, the interval is then Wilson's of the mean as a share of
    that range, which holds for any values inside it.

    Raises:
        InvalidInput: there is no value; or there is no spread, and no bounds.

    """
    sums, sizes = cluster_sums(values, groups)
    mean = float(sums.sum() / sizes.sum())
    if not _has_spread(sums, sizes):
        low, high = _without_spread(mean, len(sums), bounds, confidence)
    else:
        means = np.sort(_draw_means(sums, sizes, random))
        low, high = _quantiles(means, (sums, sizes), method, confidence)
    # Means of the same values differ in the last bit by the order of adding.
    low, high = min(low, mean), max(high, mean)
    return Interval(value=mean, low=low, high=high, n=len(values), confidence=confidence)


def has_spread(values: Values, groups: Groups | None = None) -> bool:
    """Return whether there are two items or groups that differ."""
    return _has_spread(*cluster_sums(values, groups))


def _has_spread(sums: Numbers, sizes: Numbers) -> bool:
    means = sums / sizes
    return bool(np.ptp(means) > 1e-12 * max(1.0, float(np.abs(means).max())))


def _without_spread(
    mean: float, n: int, bounds: tuple[float, float] | None, confidence: float
) -> tuple[float, float]:
    if bounds is None:
        raise InvalidInput(
            "All values are the same, or there is one: drawing them again says nothing of how sure "
            "their mean is. Ask more questions, or say between which bounds values lie.",
            code="no_spread",
        )
    least, most = bounds
    if not least <= mean <= most or least == most:
        raise InvalidInput(f"The mean {mean!r} is not inside the bounds {bounds!r}.")
    span = most - least
    low, high = score_bounds((mean - least) / span, n, confidence)
    return least + span * low, least + span * high


def _draw_means(sums: Numbers, sizes: Numbers, random: np.random.Generator) -> Numbers:
    """Return the mean of each draw."""
    n = len(sums)
    if (sizes == 1).all():
        kinds, counts = np.unique(sums, return_counts=True)
        if len(kinds) <= n // 4:
            # Few different values: how often each is drawn tells the mean, and is quicker.
            drawn = random.multinomial(n, counts / n, _DRAWS)
            return np.asarray(drawn @ kinds / n, np.float64)
    means = []
    draws = min(_DRAWS, max(_LEAST_DRAWS, _WORK // n))
    step = max(1, _BLOCK // n)
    for start in range(0, draws, step):
        picked = random.integers(0, n, (min(step, draws - start), n))
        means.append(sums[picked].sum(1) / sizes[picked].sum(1))
    return np.concatenate(means)


def _quantiles(
    means: Numbers, clusters: tuple[Numbers, Numbers], method: Method, confidence: float
) -> tuple[float, float]:
    """Return the bounds that the sorted means of all draws give."""
    n = len(clusters[0])
    z = two_sided_point(confidence)
    if method != "percentile":
        z = math.sqrt(n / (n - 1)) * student_point((1 + confidence) / 2, n - 1)
    bias, skew = _bias_and_skew(means, *clusters) if method == "bca" else (0.0, 0.0)
    tails = [NORMAL.cdf(_moved(side, bias, skew)) for side in (-z, z)]
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def _moved(z: float, bias: float, skew: float) -> float:
    """Return the normal point that BCa reads its quantile at (Efron 1987, formula 2.3)."""
    # Beyond its pole the formula turns round; a point that far out is the end of the draws.
    room = max(1 - skew * (bias + z), 1e-3)
    return bias + (bias + z) / room


def _bias_and_skew(means: Numbers, sums: Numbers, sizes: Numbers) -> tuple[float, float]:
    """Return BCa's two corrections: z0 from the draws, a from the mean without each cluster."""
    total, size = sums.sum(), sizes.sum()
    mean = total / size
    close = 1e-12 * max(1.0, abs(float(mean)))
    below = (means < mean - close).sum() + (np.abs(means - mean) <= close).sum() / 2
    half_a_draw = 0.5 / len(means)
    bias = normal_point(float(np.clip(below / len(means), half_a_draw, 1 - half_a_draw)))
    without = (total - sums) / (size - sizes)
    away = without.mean() - without
    spread = float((away**2).sum()) ** 1.5
    return bias, float((away**3).sum()) / (6 * spread) if spread > 0 else 0.0
