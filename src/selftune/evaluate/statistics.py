"""Pure statistics, unrounded. No data is an error, never a zero."""

import math
from collections.abc import Sequence

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record

NORMAL_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


class Interval(Record):
    """An estimate with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int, *, z: float = NORMAL_95) -> Interval:
    """Return a share with Wilson's interval (Wilson 1927; Newcombe 1998, method 3)."""
    _some(n)
    share = successes / n
    scale = 1 + z * z / n
    center = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if successes == 0 else center - half
    high = 1.0 if successes == n else center + half
    return Interval(value=share, low=low, high=high, n=n)


def bootstrap_mean(
    values: Sequence[float], random: np.random.Generator, *, draws: int = 2000
) -> Interval:
    """Return a mean with its percentile bootstrap interval (Efron 1979)."""
    _some(len(values))
    data = np.asarray(values, float)
    means = data[random.integers(0, len(data), (draws, len(data)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(value=float(data.mean()), low=float(low), high=float(high), n=len(data))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: a binomial test on what differs."""
    n = only_first + only_second
    if n == 0:
        return 1.0
    least = min(only_first, only_second)
    tail: float = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    return min(1.0, 2 * tail)


def paired_difference(
    first: Sequence[float], second: Sequence[float], random: np.random.Generator
) -> Interval:
    """Return the mean of second minus first on the same items, with its bootstrap interval."""
    if len(first) != len(second):
        raise InvalidInput("A paired comparison needs the same items on both sides.")
    return bootstrap_mean([b - a for a, b in zip(first, second, strict=True)], random)


class NumberErrors(Record):
    """How far guesses are from the truth."""

    mean_absolute: Interval
    root_mean_square: float
    r_squared: float | None
    """None when the truth does not vary."""


def number_errors(
    guesses: Sequence[float], truths: Sequence[float], random: np.random.Generator
) -> NumberErrors:
    """Return mean absolute error, root mean square error and the coefficient of determination."""
    _some(len(guesses))
    guess, truth = np.asarray(guesses, float), np.asarray(truths, float)
    errors = guess - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return NumberErrors(
        mean_absolute=bootstrap_mean(np.abs(errors).tolist(), random),
        root_mean_square=float(np.sqrt((errors**2).mean())),
        r_squared=None if spread == 0 else 1 - float((errors**2).sum()) / spread,
    )


def questions_needed(difference: float, *, discordant: float = 0.4) -> int:
    """Return how many paired questions show a difference of shares, with 80 % power at 5 %.

    Connor (1987), Biometrics 43: the sample size of McNemar's test, given the share of questions on
    which the two models differ.
    """
    gap = max(abs(difference), 1e-6)
    both = max(discordant, gap)
    z_power = 0.8416212335729143
    root = math.sqrt(max(both - gap * gap, 0.0))
    needed: float = ((NORMAL_95 * math.sqrt(both) + z_power * root) / gap) ** 2
    return math.ceil(needed)


def _some(n: int) -> None:
    if n <= 0:
        raise InvalidInput("There is nothing to measure: n is 0.", code="no_items")
