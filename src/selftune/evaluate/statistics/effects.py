"""How large a difference is, apart from how sure it is."""

import math

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.statistics.clusters import Values
from selftune.evaluate.statistics.interval import CONFIDENCE, need_same_items, need_some
from selftune.evaluate.statistics.shares import clopper_pearson


class Odds(Record):
    """Odds that the second model is right where the two differ."""

    value: float | None
    """None: the first is never right alone, so there is no upper end."""
    low: float
    high: float | None
    n: int
    """Items on which they differ."""


def discordant_odds(only_first: int, only_second: int, *, confidence: float = CONFIDENCE) -> Odds:
    """Return the odds ratio of paired answers, with its exact interval.

    It is the ratio of the two counts of items that only one model passes; the bounds come from the
    exact interval of the share (Breslow and Day 1980, section 5.2).

    Raises:
        InvalidInput: the two models never differ.

    """
    share = clopper_pearson(only_second, only_first + only_second, confidence=confidence)
    return Odds(
        value=only_second / only_first if only_first else None,
        low=share.low / (1 - share.low),
        high=share.high / (1 - share.high) if share.high < 1 else None,
        n=share.n,
    )


def cohens_h(first: float, second: float) -> float:
    """Return Cohen's h of two shares: 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988, chapter 6)."""
    if not (0 <= first <= 1 and 0 <= second <= 1):
        raise InvalidInput("A share is from 0 to 1.")
    return 2 * math.asin(math.sqrt(second)) - 2 * math.asin(math.sqrt(first))


def cohens_d(first: Values, second: Values) -> float:
    """Return Cohen's d: the difference of means over the two samples' pooled deviation.

    0.2 is small, 0.5 medium, 0.8 large (Cohen 1988, chapter 2).

    Raises:
        InvalidInput: a side has fewer than two values, or no value differs from another.

    """
    need_some(min(len(first), len(second)))
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    freedom = len(a) + len(b) - 2
    squares = float(((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum())
    if freedom < 1 or squares == 0:
        raise InvalidInput("Values that do not differ have no deviation.", code="no_spread")
    return float(b.mean() - a.mean()) / math.sqrt(squares / freedom)


def paired_effect(first: Values, second: Values) -> float:
    """Return the mean difference over the deviation of differences (Cohen's d of pairs, dz).

    Raises:
        InvalidInput: items are not the same on both sides, or all differences are the same.

    """
    need_same_items(len(first), len(second))
    need_some(len(first))
    gaps = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    deviation = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    if deviation == 0:
        raise InvalidInput("Differences that are all the same have no deviation.", code="no_spread")
    return float(gaps.mean()) / deviation
