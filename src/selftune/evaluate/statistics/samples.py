"""Several answers to the same question: how reliable a model is, and how many answers pay."""

import math

import numpy as np
from numpy.typing import NDArray

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.statistics.interval import need_same_items, need_some

Counts = NDArray[np.int64]
_CLOSE = 1.05
"""Samples pay until the standard error is within 5 % of what no number of them makes smaller."""


class Spread(Record):
    """Where the variance of a share comes from."""

    between: float
    """Variance of the questions' own shares: some are harder than others."""
    within: float
    """Variance of one question's answers, on average: the model does not always say the same."""
    samples_that_pay: int | None
    """With so many answers to each question the standard error is within 5 % of the least that
    these questions allow; None where the questions do not differ, and each answer pays."""


def spread(passes: Counts, samples: Counts) -> Spread:
    """Return the variance between and within questions, from counts of answers that pass.

    One-way analysis of variance (Miller 2024, "Adding Error Bars to Evals", section 3; Searle,
    Casella and McCulloch 1992, section 3.6): what the questions' means vary by chance is taken off.

    Raises:
        InvalidInput: no question has two answers, or there is only one question.

    """
    need_same_items(len(passes), len(samples))
    several = samples > 1
    if several.sum() < 2:
        raise InvalidInput("It takes two questions with two answers each.", code="no_spread")
    n = samples[several].astype(np.float64)
    share = passes[several] / n
    inside = share * (1 - share) * n / (n - 1)
    within = float(inside.mean())
    between = max(0.0, float(share.var(ddof=1)) - float((inside / n).mean()))
    pays = None
    if between > 0:
        pays = max(1, math.ceil(within / (between * (_CLOSE**2 - 1)) - 1e-9))
    return Spread(between=between, within=within, samples_that_pay=pays)


def pass_any(passes: Counts, samples: Counts, k: int) -> float:
    """Return pass@k: how likely at least one of k answers to a question passes.

    1 - C(n - c, k) / C(n, k), on average (Chen et al. 2021, arXiv 2107.03374), of the questions
    with k answers or more.

    Raises:
        InvalidInput: no question has k answers.

    """
    return float(1 - _none_of(*_enough(samples - passes, samples, k), k).mean())


def pass_all(passes: Counts, samples: Counts, k: int) -> float:
    """Return pass^k: how likely all k answers to a question pass.

    C(c, k) / C(n, k), on average (Yao et al. 2024, arXiv 2406.12045).

    Raises:
        InvalidInput: no question has k answers.

    """
    return float(_none_of(*_enough(passes, samples, k), k).mean())


def _enough(counts: Counts, samples: Counts, k: int) -> tuple[Counts, Counts]:
    need_same_items(len(counts), len(samples))
    if k < 1:
        raise InvalidInput(f"k is {k}: it must be at least 1.")
    chosen = samples >= k
    need_some(int(chosen.sum()))
    return counts[chosen], samples[chosen]


def _none_of(left: Counts, n: Counts, k: int) -> NDArray[np.float64]:
    """Return C(left, k) / C(n, k) for each question, without large numbers."""
    share = np.ones(len(n))
    for taken in range(k):
        share *= np.maximum(left - taken, 0) / (n - taken)
    return share
