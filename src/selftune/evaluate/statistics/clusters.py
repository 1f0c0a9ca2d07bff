"""Items that belong together: several samples of one question, several questions on one passage.

They say less than as many items apart, so the group is what is counted and resampled.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.distributions import student_point
from selftune.evaluate.statistics.interval import (
    CONFIDENCE,
    Interval,
    need_fraction,
    need_same_items,
    need_some,
)

Numbers = NDArray[np.float64]
Values = Sequence[float] | Numbers
Groups = Sequence[Hashable] | NDArray[np.int64]
"""What each item belongs to; numbers of groups are counted faster than names."""


def cluster_sums(values: Values, groups: Groups | None = None) -> tuple[Numbers, Numbers]:
    """Return sum and size of each group, in order of first appearance; alone without groups.

    Raises:
        InvalidInput: there is no value, a value is not finite, or groups are of other items.

    """
    need_some(len(values))
    data = np.asarray(values, np.float64)
    if not np.isfinite(data).all():
        raise InvalidInput("A value is not a finite number: leave out what could not be scored.")
    if groups is None:
        return data, np.ones(len(data))
    need_same_items(len(values), len(groups))
    where = _numbered(groups)
    sums = np.asarray(np.bincount(where, data), np.float64)
    return sums, np.bincount(where).astype(np.float64)


def standard_error(values: Values, groups: Groups | None = None) -> float:
    """Return the standard error of a mean, clustered where groups are given.

    The clustered one is that of Miller (2024), "Adding Error Bars to Evals", section 2.2, times
    sqrt(G / (G - 1)) for G groups; without groups it is the sample's deviation over sqrt(n).

    Raises:
        InvalidInput: there are fewer than two groups, which say nothing of the spread.

    """
    sums, sizes = cluster_sums(values, groups)
    count = len(sums)
    if count < 2:
        raise InvalidInput(
            "One item or one group says nothing of how results differ: give at least two.",
            code="no_spread",
        )
    away = sums - sizes * (sums.sum() / sizes.sum())
    return math.sqrt(count / (count - 1) * float((away**2).sum())) / float(sizes.sum())


def clustered_mean(
    values: Values, groups: Groups | None = None, *, confidence: float = CONFIDENCE
) -> Interval:
    """Return a mean with Student's interval on its clustered standard error.

    Degrees of freedom are the groups less one.

    Raises:
        InvalidInput: there are fewer than two groups, or no two groups differ.

    """
    need_fraction(confidence, "The confidence")
    error = standard_error(values, groups)
    if error == 0:
        raise InvalidInput(
            "All values are the same: their spread says nothing of how sure the mean is.",
            code="no_spread",
        )
    count = len(values) if groups is None else count_groups(groups)
    mean = float(np.mean(np.asarray(values, np.float64)))
    half = student_point((1 + confidence) / 2, count - 1) * error
    return Interval(
        value=mean, low=mean - half, high=mean + half, n=len(values), confidence=confidence
    )


def design_effect(values: Values, groups: Groups) -> float:
    """Return by how much the variance of the mean grows because items come in groups."""
    alone = standard_error(values)
    if alone == 0:
        raise InvalidInput("All values are the same: groups change nothing.", code="no_spread")
    return (standard_error(values, groups) / alone) ** 2


def count_groups(groups: Groups) -> int:
    """Return how many groups there are."""
    return len(np.unique(groups)) if isinstance(groups, np.ndarray) else len(set(groups))


def _numbered(groups: Groups) -> Sequence[int] | NDArray[np.int64]:
    """Return a number for each item: that of its group, from 0."""
    if isinstance(groups, np.ndarray):
        return np.unique(groups, return_inverse=True)[1].astype(np.int64)
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]
