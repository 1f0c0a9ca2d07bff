"""A curve through what models of several sizes of training data were like, and its noise.

Runs of one size differ by which rows were drawn and by chance in training. They are drawn from one
pool, so that two runs of n rows share a part n / pool of them and differ less than two fresh draws
would: the noise is scaled up for it, and what they share does not average out.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.curve.laws import PARAMETERS, Curves, Law, Sizes, fit_closely
from selftune.evaluate.statistics.clusters import Numbers
from selftune.evaluate.statistics.distributions import beta_below

_MOST_SHARED = 0.5
"""Runs that share more of their rows say little of how fresh draws would differ."""
_TINY = 1e-12


class Point(Record):
    """What models that were trained on so many rows are like."""

    rows: Annotated[int, Field(ge=1)]
    errors: Annotated[tuple[float, ...], Field(min_length=1)]
    """The error of each run, on the same items; less is better."""
    item_error: Annotated[float, Field(ge=0)] | None = None
    """Standard error of their mean that comes from the items; None is unknown."""

    @property
    def error(self) -> float:
        """Return the mean of all runs."""
        return sum(self.errors) / len(self.errors)


class Fitted(Record):
    """One law through the points."""

    law: Law
    floor: float
    """a of a + b n^-c."""
    scale: float
    """b."""
    exponent: float
    """c."""
    aicc: float | None
    """Akaike's criterion for small samples; None where there are too few runs for it."""

    def at(self, rows: float) -> float:
        """Return the error that the law says for so many rows."""
        return float(self.floor + self.scale * rows**-self.exponent)


class Fit(Record):
    """The curve, how it compares, and how much runs scatter around it."""

    points: tuple[Point, ...]
    """By size."""
    pool: int | None
    """Rows that the sizes were drawn from; None where each run had rows of its own."""
    most: float | None
    """The largest error there can be; None where there is none."""
    curve: Fitted
    """The power law with floor."""
    others: tuple[Fitted, ...]
    """A flat line, and the power law without floor."""
    noise: float | None
    """Variance of a run, as a multiple of its relative variance; None where nothing tells."""
    freedom: int
    """Degrees of freedom of the noise."""
    bend: float | None
    """p-value of the points not being on such a curve; None where nothing tells."""

    @property
    def rows(self) -> Numbers:
        """The sizes."""
        return np.array([point.rows for point in self.points], float)

    @property
    def errors(self) -> Numbers:
        """The mean error of each size."""
        return np.array([point.error for point in self.points])

    @property
    def variances(self) -> Numbers:
        """Of the mean of each size, in units of the noise."""
        shared = _shared(self.points, self.pool)
        counts = np.array([len(point.errors) for point in self.points])
        return np.asarray(_relative(self.points) * ((1 - shared) / counts + shared))

    @property
    def deviation(self) -> float | None:
        """How far one run lies from the curve, typically."""
        if self.noise is None:
            return None
        return math.sqrt(self.noise * float(_relative(self.points).mean()))

    @property
    def gained(self) -> float:
        """How far the error fell from the smallest to the largest size."""
        return self.points[0].error - self.points[-1].error

    def law(self, name: Law) -> Fitted:
        """Return one of the fitted laws."""
        return next(each for each in (self.curve, *self.others) if each.law == name)


def fit_curve(points: Sequence[Point], *, pool: int | None = None, most: float | None = 1.0) -> Fit:
    """Fit error(n) = a + b n^-c, a flat line, and b n^-c to all runs.

    `most` is the largest error there can be: 1 for a share, None for an error in dollars.

    Raises:
        InvalidInput: there are fewer than two sizes, a size stands twice, or an error cannot be.

    """
    ordered = tuple(sorted(points, key=lambda point: point.rows))
    _check(ordered, pool, most)
    rows = np.array([point.rows for point in ordered], float)
    means = np.array([point.error for point in ordered])
    shared, relative = _shared(ordered, pool), _relative(ordered)
    counts = np.array([len(point.errors) for point in ordered])
    weights = 1 / (relative * ((1 - shared) / counts + shared))
    top = math.inf if most is None else most
    found: dict[Law, Curves] = {
        law: fit_closely(law, Sizes(rows, weights), means[None, :], top) for law in PARAMETERS
    }
    within, within_freedom = _within(ordered, relative, shared)
    around = float(found["power with floor"].misfit[0])
    around_freedom = max(0, len(ordered) - PARAMETERS["power with floor"])
    freedom = within_freedom + around_freedom
    runs = int(counts.sum())
    fitted = {
        law: Fitted(
            law=law,
            floor=float(curves.floor[0]),
            scale=float(curves.scale[0]),
            exponent=float(curves.exponent[0]),
            aicc=_aicc(within + float(curves.misfit[0]), runs, PARAMETERS[law] + 1, means, weights),
        )
        for law, curves in found.items()
    }
    return Fit(
        points=ordered,
        pool=pool,
        most=most,
        curve=fitted["power with floor"],
        others=(fitted["flat"], fitted["power"]),
        noise=(within + around) / freedom if freedom else None,
        freedom=freedom,
        bend=_bend(around, around_freedom, within, within_freedom),
    )


def _check(points: Sequence[Point], pool: int | None, most: float | None) -> None:
    if len(points) < 2:
        raise InvalidInput("A curve needs two sizes at the least: four or more tell something.")
    rows = [point.rows for point in points]
    if len(set(rows)) < len(rows):
        raise InvalidInput("A size stands twice: give all runs of one size as one point.")
    if pool is not None and rows[-1] > pool:
        raise InvalidInput(f"The largest size, {rows[-1]}, is more than the {pool} rows there are.")
    errors = [error for point in points for error in point.errors]
    if not all(0 <= error <= (math.inf if most is None else most) for error in errors) or not all(
        map(math.isfinite, errors)
    ):
        raise InvalidInput(
            f"An error is {max(errors, key=abs)!r}: it must be from 0 to "
            f"{'infinity' if most is None else f'{most:g}'}; turn a score into what it lacks."
        )


def _shared(points: Sequence[Point], pool: int | None) -> Numbers:
    """Return the part of its rows that a run shares with another of its size."""
    rows = np.array([point.rows for point in points], float)
    return np.zeros(len(points)) if pool is None else rows / pool


def _relative(points: Sequence[Point]) -> Numbers:
    """Return the variance of a run at each size, in units of the noise.

    By the items where that is known, half way to the mean of all sizes: a size on which all items
    went alike is not known without end.
    """
    if any(point.item_error is None for point in points):
        return np.ones(len(points))
    own = np.array([point.item_error or 0.0 for point in points]) ** 2
    mean = float(own.mean())
    return np.asarray((own / mean + 1) / 2) if mean > 0 else np.ones(len(points))


def _within(points: Sequence[Point], relative: Numbers, shared: Numbers) -> tuple[float, int]:
    """Return how runs of one size scatter: weighted squares and their degrees of freedom."""
    squares, freedom = 0.0, 0
    for point, variance, part in zip(points, relative, shared, strict=True):
        if len(point.errors) > 1 and part <= _MOST_SHARED:
            away = np.array(point.errors) - point.error
            squares += float((away**2).sum() / variance / (1 - part))
            freedom += len(point.errors) - 1
    return squares, freedom


def _aicc(
    misfit: float, runs: int, parameters: int, means: Numbers, weights: Numbers
) -> float | None:
    """Return Hurvich and Tsai's criterion (1989, Biometrika 76); the noise is a parameter too."""
    if runs - parameters - 1 <= 0:
        return None
    least = _TINY * float((means**2) @ weights) or _TINY  # a perfect fit has no logarithm
    penalty = 2 * parameters + 2 * parameters * (parameters + 1) / (runs - parameters - 1)
    return runs * math.log(max(misfit, least) / runs) + penalty


def _bend(around: float, around_freedom: int, within: float, within_freedom: int) -> float | None:
    """Return the F test's p-value of points being farther from the curve than runs scatter."""
    if not around_freedom or within_freedom < 2 or within <= 0:
        return None
    ratio = (around / around_freedom) / (within / within_freedom)
    x = within_freedom / (within_freedom + around_freedom * ratio)
    return beta_below(x, within_freedom / 2, around_freedom / 2)
