"""What plots are drawn of, small however many questions there are."""

from collections.abc import Sequence

import numpy as np

from selftune.core.records import Record
from selftune.evaluate.columns import Arm, Questions
from selftune.evaluate.statistics.clusters import Numbers
from selftune.evaluate.statistics.distributions import student_point, two_sided_point

_BINS = 48
_MOST_POINTS = 1000
_STEPS = 100
_FAR = 99.5
_MANY = 1000


class Histogram(Record):
    """How often values occur, in steps of one width from 0."""

    width: float
    counts: tuple[int, ...]
    """The last one counts all that is above, too."""


class Guess(Record):
    """A right number and what was answered."""

    truth: float
    guess: float
    passed: bool


class Running(Record):
    """The mean error of the first n answers, with its 95 % band."""

    n: int
    mean: float
    low: float
    high: float


def histograms(arms: Sequence[Arm]) -> list[Histogram | None]:
    """Return the latencies of each model, all in the same steps; None where nothing is known."""
    columns = [arm.rows.seconds[~np.isnan(arm.rows.seconds)] for arm in arms]
    most = max((float(np.percentile(each, _FAR)) for each in columns if len(each)), default=0.0)
    width = (most or 1.0) / _BINS
    return [_histogram(each, width) if len(each) else None for each in columns]


def guesses(arm: Arm, questions: Questions) -> tuple[Guess, ...]:
    """Return numbers that were asked for, evenly chosen where there are very many."""
    truth, guess, passed = _numbers(arm, questions)
    step = max(1, -(-len(truth) // _MOST_POINTS))
    return tuple(
        Guess(truth=a, guess=b, passed=bool(good))
        for a, b, good in zip(
            truth[::step].tolist(), guess[::step].tolist(), passed[::step].tolist(), strict=True
        )
    )


def running_error(arm: Arm, questions: Questions) -> tuple[Running, ...]:
    """Return how the mean absolute error settles, answer by answer."""
    truth, guess, _ = _numbers(arm, questions)
    errors = np.abs(guess - truth)
    n = len(errors)
    if n < 2:
        return ()
    counts = np.arange(1, n + 1)
    means = np.cumsum(errors) / counts
    # About a value that is near, squares lose no digits.
    away = errors - errors.mean()
    squares = np.cumsum(away**2) - counts * (np.cumsum(away) / counts) ** 2
    places = np.unique(np.linspace(1, n - 1, min(_STEPS, n - 1)).astype(int))
    found = []
    for place in places.tolist():
        k = place + 1
        error = float(np.sqrt(max(squares[place], 0.0) / (k - 1) / k))
        mean, half = float(means[place]), _reach(k - 1) * error
        found.append(Running(n=k, mean=mean, low=max(0.0, mean - half), high=mean + half))
    return tuple(found)


def _reach(freedom: int) -> float:
    # Slow to find, and for many answers the normal one to three digits.
    return student_point(0.975, freedom) if freedom < _MANY else two_sided_point(0.95)


def _histogram(values: Numbers, width: float) -> Histogram:
    bins = np.minimum((values / width).astype(int), _BINS - 1)
    return Histogram(width=width, counts=tuple(np.bincount(bins, minlength=_BINS).tolist()))


def _numbers(arm: Arm, questions: Questions) -> tuple[Numbers, Numbers, "np.ndarray"]:
    truth = questions.truth
    if truth is None or not truth.is_number or arm.given is None:
        return np.empty(0), np.empty(0), np.empty(0, bool)
    right = truth.values[arm.at]
    told = arm.rows.is_scored & ~np.isnan(arm.given) & ~np.isnan(right)
    return right[told], arm.given[told], arm.rows.passed[told]
