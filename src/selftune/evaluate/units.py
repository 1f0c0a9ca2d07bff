"""Each question once: what its answers, one or several, come to. Questions are what is counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selftune.evaluate.columns import Arm, Mask, Questions, Whole
from selftune.evaluate.statistics import Interval, clustered_share, wilson
from selftune.evaluate.statistics.clusters import Numbers

SEED = 20260101
_UNIT_EDGES = (0.0, 1.0)


@dataclass(frozen=True)
class Units:
    """One model's outcome of each question; nan where none of its answers could be scored."""

    passed: Numbers
    """Share of the scored answers that pass: 0 or 1 where there is one."""
    value: Numbers
    credit: Numbers
    scored: Whole
    """How many answers could be scored."""
    passes: Whole
    group: Whole | None
    asked: Mask

    @property
    def known(self) -> Mask:
        """Return which questions have a scored answer."""
        return self.scored > 0

    @property
    def wins(self) -> Mask:
        """Return which questions more than half of the answers pass."""
        return np.nan_to_num(self.passed) > 0.5

    def groups(self, chosen: Mask) -> Whole | None:
        """Return the groups of some questions."""
        return None if self.group is None else self.group[chosen]


def units(arm: Arm, questions: Questions) -> Units:
    """Return the outcome of each question."""
    n, rows = len(questions), arm.rows
    scored = rows.is_scored
    at = arm.at[scored]
    counts = np.bincount(at, minlength=n)
    passes = np.bincount(at, rows.passed[scored], minlength=n)
    return Units(
        passed=_ratio(passes, counts),
        value=_mean(at, rows.value[scored], n),
        credit=_mean(at, rows.credit[scored], n),
        scored=counts.astype(np.int64),
        passes=np.rint(passes).astype(np.int64),
        group=questions.group,
        asked=arm.asked,
    )


def share(found: Units, chosen: Mask) -> Interval | None:
    """Return the share that passes, of some questions; None where none could be scored."""
    chosen = chosen & found.known
    n = int(chosen.sum())
    if n == 0:
        return None
    passed = found.passed[chosen]
    if found.group is None and is_binary(passed):
        return wilson(int(passed.sum()), n)
    answers = int(found.scored[chosen].sum())
    return clustered_share(passed, found.groups(chosen), answers=answers)


def is_binary(values: Numbers) -> bool:
    """Return whether every question is simply right or wrong."""
    return bool(np.isin(values, _UNIT_EDGES).all())


def _mean(at: Whole, values: Numbers, n: int) -> Numbers:
    known = ~np.isnan(values)
    counts = np.bincount(at[known], minlength=n)
    return _ratio(np.bincount(at[known], values[known], minlength=n), counts)


def _ratio(sums: "NDArray[Any]", counts: "NDArray[Any]") -> Numbers:
    found: Numbers = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return found
