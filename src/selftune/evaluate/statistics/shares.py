"""How sure a share is: of one model, of weighted items, and of two models on other items."""

import math
from collections.abc import Sequence

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.clusters import Groups, Values, cluster_sums, standard_error
from selftune.evaluate.statistics.distributions import (
    beta_below,
    crossing,
    student_point,
    two_sided_point,
)
from selftune.evaluate.statistics.interval import (
    CONFIDENCE,
    Interval,
    need_count,
    need_fraction,
    need_same_items,
    need_some,
)


def wilson(successes: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return a share with Wilson's score interval (Wilson 1927; Newcombe 1998, method 3).

    It never claims certainty: 1 of 1 is anything from 0.21 to 1.
    """
    need_some(n)
    need_count(successes, n, "The number of successes")
    low, high = score_bounds(successes / n, n, confidence)
    return Interval(value=successes / n, low=low, high=high, n=n, confidence=confidence)


def clopper_pearson(successes: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return a share with the exact interval, which covers at least what it says, often more.

    Clopper and Pearson (1934), Biometrika 26.
    """
    need_some(n)
    need_count(successes, n, "The number of successes")
    need_fraction(confidence, "The confidence")
    tail = (1 - confidence) / 2
    k, low, high = successes, 0.0, 1.0
    if k > 0:
        low = crossing(lambda share: beta_below(share, k, n - k + 1) - tail, 0.0, 1.0)
    if k < n:
        high = crossing(lambda share: beta_below(share, k + 1, n - k) - 1 + tail, 0.0, 1.0)
    return Interval(value=k / n, low=low, high=high, n=n, confidence=confidence)


def weighted_share(
    passed: Sequence[bool], weights: Sequence[float], *, confidence: float = CONFIDENCE
) -> Interval:
    """Return the share of the weight that passed, with its interval.

    Wilson's, on the effective number of items (sum of weights) ** 2 / (sum of squares): weights
    that differ make the same items say less (Kish 1965, Survey Sampling, section 11.7).

    Raises:
        InvalidInput: there is no item, or a weight is below 0, or all are 0.

    """
    need_some(len(passed))
    need_same_items(len(passed), len(weights))
    total = math.fsum(weights)
    if min(weights) < 0 or not 0 < total < math.inf:
        raise InvalidInput("Weights must be 0 or more, and not all of them 0.")
    share = math.fsum(w for w, good in zip(weights, passed, strict=True) if good) / total
    effective = total * total / math.fsum(w * w for w in weights)
    low, high = score_bounds(share, effective, confidence)
    return Interval(value=share, low=low, high=high, n=len(passed), confidence=confidence)


def clustered_share(
    shares: Values,
    groups: Groups | None = None,
    *,
    answers: int | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the mean of shares of items that come in groups, or were asked several times.

    Wilson's interval on the effective number of answers: as many independent ones would have this
    standard error (Korn and Graubard 1998, Survey Methodology 24; Franco, Little, Louis and Slud
    2019, Journal of Survey Statistics and Methodology 7). They are never more than the answers;
    where nothing is known of the spread, each group counts as one.

    Raises:
        InvalidInput: there is no item, or a share is not from 0 to 1.

    """
    sums, sizes = cluster_sums(shares, groups)
    if min(shares) < 0 or max(shares) > 1:
        raise InvalidInput("A share is from 0 to 1.")
    share, clusters = float(sums.sum() / sizes.sum()), len(sums)
    effective = float(clusters)
    error = standard_error(shares, groups) if clusters > 1 else 0.0
    if 0 < share < 1 and error > 0:
        # Few groups: their spread is itself not well known.
        sure = two_sided_point(confidence) / student_point((1 + confidence) / 2, clusters - 1)
        effective = min(share * (1 - share) * (sure / error) ** 2, answers or len(shares))
    low, high = score_bounds(share, effective, confidence)
    return Interval(value=share, low=low, high=high, n=len(shares), confidence=confidence)


def difference_of_shares(first: Interval, second: Interval) -> Interval:
    """Return second minus first, of two models that answered different questions.

    Each side is a share with its own Wilson interval (Newcombe 1998b, method 10). For the same
    questions, `paired_shares` sees far smaller differences.
    """
    gap = second.value - first.value
    below = math.hypot(second.value - second.low, first.high - first.value)
    above = math.hypot(second.high - second.value, first.value - first.low)
    return Interval(
        value=gap,
        low=gap - below,
        high=gap + above,
        n=first.n + second.n,
        confidence=min(first.confidence, second.confidence),
    )


def score_bounds(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the bounds of Wilson's interval for a share of n items; n may be a fraction."""
    z = two_sided_point(confidence)
    scale = 1 + z * z / n
    center = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if share == 0 else max(0.0, center - half)
    high = 1.0 if share == 1 else min(1.0, center + half)
    return low, high
