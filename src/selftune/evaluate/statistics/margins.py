"""Not worse, or the same, by a margin that was set before anybody looked.

A difference that was not shown is no proof that there is none: that takes a margin, and a test of
its own. `margin` is how much of a loss is still acceptable, in the unit of what is compared.
"""

import math

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.clusters import Groups, Values, count_groups, standard_error
from selftune.evaluate.statistics.distributions import NORMAL, student_below
from selftune.evaluate.statistics.interval import need_count, need_fraction, need_some
from selftune.evaluate.statistics.paired import difference_score, differences


def shares_not_worse(only_first: int, only_second: int, n: int, margin: float) -> float:
    """Return the one-sided p-value against "the second is worse by the margin or more".

    The score test for paired shares (Nam 1997, Biometrics 53; Tango 1998).

    Raises:
        InvalidInput: there is no item, or the margin is not between 0 and 1.

    """
    need_some(n)
    need_count(only_first + only_second, n, "The number of items that differ")
    need_fraction(margin, "The margin")
    return 1 - NORMAL.cdf(difference_score(only_first, only_second, n, -margin))


def shares_equivalent(only_first: int, only_second: int, n: int, margin: float) -> float:
    """Return the p-value against "they differ by the margin or more": two one-sided tests."""
    worse = shares_not_worse(only_first, only_second, n, margin)
    return max(worse, shares_not_worse(only_second, only_first, n, margin))


def scores_not_worse(
    first: Values, second: Values, margin: float, groups: Groups | None = None
) -> float:
    """Return the one-sided p-value against "the second's mean is lower by the margin or more".

    Student's test on paired differences, with the clustered standard error where groups are given.

    Raises:
        InvalidInput: items are not the same; differences do not differ; the margin is not above 0.

    """
    if not 0 < margin < math.inf:
        raise InvalidInput(f"The margin is {margin!r}: it must be above 0.")
    gaps = differences(first, second)
    error = standard_error(gaps, groups)
    if error == 0:
        raise InvalidInput("All differences are the same: nothing to test.", code="no_spread")
    freedom = (len(gaps) if groups is None else count_groups(groups)) - 1
    return 1 - student_below((float(np.mean(gaps)) + margin) / error, freedom)


def scores_equivalent(
    first: Values, second: Values, margin: float, groups: Groups | None = None
) -> float:
    """Return the p-value against "the means differ by the margin or more" (Schuirmann 1987)."""
    worse = scores_not_worse(first, second, margin, groups)
    return max(worse, scores_not_worse(second, first, margin, groups))
