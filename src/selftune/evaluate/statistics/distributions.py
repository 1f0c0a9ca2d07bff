"""The few distributions that are needed, to nearly the precision of a float.

Binomial and Student's are both read off the incomplete beta function (Abramowitz and Stegun 26.5).
"""

import math
from collections.abc import Callable
from statistics import NormalDist

from selftune.evaluate.statistics.interval import need_fraction

NORMAL = NormalDist()
_TINY = 1e-300
_CLOSE = 1e-15
_MOST_TERMS = 100_000
_HALVINGS = 200


def normal_point(share: float) -> float:
    """Return the value below which a standard normal variable falls with this probability."""
    return NORMAL.inv_cdf(share)


def two_sided_point(confidence: float) -> float:
    """Return how many standard errors reach from the middle to the bounds of an interval.

    Raises:
        InvalidInput: the confidence is not between 0 and 1.

    """
    need_fraction(confidence, "The confidence")
    return NORMAL.inv_cdf((1 + confidence) / 2)


def beta_below(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), for a and b above 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logarithm + a * math.log(x) + b * math.log1p(-x))
    # The fraction converges fast on this side of the mean; the other side is its complement.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def binomial_below(k: int, n: int, share: float) -> float:
    """Return the probability of at most k successes in n trials."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else beta_below(1 - share, n - k, k + 1)


def binomial_at(k: int, n: int, share: float) -> float:
    """Return the probability of exactly k successes in n trials; the share is inside (0, 1)."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def student_below(t: float, freedom: float) -> float:
    """Return the probability that Student's t with these degrees of freedom is below t."""
    tail = beta_below(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return tail if t < 0 else 1 - tail


def student_point(share: float, freedom: float) -> float:
    """Return the value below which Student's t falls with this probability."""
    if share < 0.5:
        return -student_point(1 - share, freedom)
    top = 1.0
    while student_below(top, freedom) < share:
        top *= 2
    return crossing(lambda t: student_below(t, freedom) - share, 0.0, top)


def crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function becomes positive, between two bounds: by halving."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    upper, lower = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = lower
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            lower = 1 / _away(1 + term * lower)
            upper = _away(1 + term / upper)
            value *= lower * upper
        if abs(lower * upper - 1) < _CLOSE:
            break
    return value


def _away(value: float) -> float:
    """Return the value, or something tiny in place of a zero that would be divided by."""
    return value if abs(value) > _TINY else _TINY
