"""The law error(n) = a + b n^-c and its two simpler kin, fitted by weighted least squares.

Given c, the law is linear in a and b, so c is searched on a grid and a and b are exact. Many curves
are fitted at once, which is what drawing them again and again needs.
"""

from typing import Literal, NamedTuple

import numpy as np

from selftune.evaluate.statistics.clusters import Numbers

Law = Literal["flat", "power", "power with floor"]
"""`flat` is a alone, `power` is b n^-c without a floor."""
PARAMETERS: dict[Law, int] = {"flat": 1, "power": 2, "power with floor": 3}
EXPONENTS = np.geomspace(0.05, 2.0, 120)
"""From nearly a logarithm to faster than any noise falls; neighbours differ by 3 %."""
_NEAR, _ZOOMS = 41, 5


class Curves(NamedTuple):
    """Fitted laws, one for each curve."""

    floor: Numbers
    """a."""
    scale: Numbers
    """b."""
    exponent: Numbers
    """c."""
    misfit: Numbers
    """Weighted sum of squares around the law."""

    def at(self, rows: Numbers) -> Numbers:
        """Return each curve's error at each number of rows: one line a curve."""
        return np.asarray(
            self.floor[:, None] + self.scale[:, None] * rows[None, :] ** -self.exponent[:, None]
        )


class Sizes(NamedTuple):
    """Where curves were measured."""

    rows: Numbers
    weights: Numbers
    """What the error of each size weighs."""


def fit_law(
    law: Law,
    sizes: Sizes,
    errors: Numbers,
    most: float = np.inf,
    exponents: Numbers = EXPONENTS,
) -> Curves:
    """Fit one law to many curves: `errors` has a line for each, a column for each size.

    The floor is from 0 to `most`, and more rows never make the error larger.
    """
    rows, weights = sizes
    if law == "flat":
        level = np.clip(errors @ weights / weights.sum(), 0, most)
        misfit = ((errors - level[:, None]) ** 2) @ weights
        return Curves(level, np.zeros_like(level), np.ones_like(level), misfit)
    middle = float(np.exp(np.log(rows).mean()))  # powers of large numbers lose digits
    steps = (rows / middle)[None, :] ** -exponents[:, None]
    floor, scale, misfit = _best_lines(steps, errors, weights, 0.0 if law == "power" else most)
    best = misfit.argmin(1)
    lines = np.arange(len(errors))
    exponent = exponents[best]
    return Curves(
        floor[lines, best],
        scale[lines, best] * middle**exponent,
        exponent,
        np.maximum(misfit[lines, best], 0.0),
    )


def fit_closely(law: Law, sizes: Sizes, errors: Numbers, most: float = np.inf) -> Curves:
    """Fit one law to one curve, with an exponent that is exact to six digits."""
    found = fit_law(law, sizes, errors, most)
    reach = float(EXPONENTS[1] / EXPONENTS[0])
    for _ in range(_ZOOMS):
        middle = float(found.exponent[0])
        near = np.geomspace(middle / reach, middle * reach, _NEAR)
        near = np.clip(near, EXPONENTS[0], EXPONENTS[-1])
        found = fit_law(law, sizes, errors, most, near)
        reach **= 4 / _NEAR
    return found


def _best_lines(
    steps: Numbers, errors: Numbers, weights: Numbers, most: float
) -> tuple[Numbers, Numbers, Numbers]:
    """Return a, b and the misfit of each curve at each exponent, with 0 <= a <= most and 0 <= b.

    Least squares under such bounds is the free solution where it keeps them, else the best one on
    the bounds: a is 0, a is `most`, or b is 0.
    """
    total, first, second = weights.sum(), steps @ weights, (steps * steps) @ weights
    level, product = (errors @ weights)[:, None], (errors * weights) @ steps.T
    squares = ((errors * errors) @ weights)[:, None]

    def misfit(a: Numbers, b: Numbers) -> Numbers:
        return np.asarray(
            squares
            - 2 * a * level
            - 2 * b * product
            + a * a * total
            + 2 * a * b * first
            + b * b * second
        )

    scale = (total * product - first * level) / (total * second - first**2)
    floor = (level - scale * first) / total
    free = (floor >= 0) & (floor <= most) & (scale >= 0)
    found = np.where(free, misfit(floor, scale), np.inf)
    floor, scale = np.where(free, floor, 0.0), np.where(free, scale, 0.0)
    zero = np.zeros_like(scale)
    bounds = [(zero, np.maximum(product / second, 0.0))]
    if most > 0:
        bounds.append((np.clip(level / total, 0, most) + zero, zero))
    if 0 < most < np.inf:
        bounds.append((zero + most, np.maximum((product - most * first) / second, 0.0)))
    for a, b in bounds:
        other = misfit(a, b)
        is_better = other < found
        found = np.where(is_better, other, found)
        floor, scale = np.where(is_better, a, floor), np.where(is_better, b, scale)
    return floor, scale, found
