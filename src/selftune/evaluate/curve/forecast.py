"""What more rows would bring: by the curve, and by curves that could have been found as well.

Parametric bootstrap: points are drawn around the fitted curve with the noise that runs have, and
fitted again. The noise itself is known from few runs, so it is drawn too, which makes intervals as
wide as Student's. Where the law without a floor explains the points nearly as well, the interval
takes in what that law says: near its edge, a floor of 0, the draws alone say too little.
"""

import math

import numpy as np

from selftune.core.records import Record
from selftune.evaluate.curve.fit import Fit, Fitted
from selftune.evaluate.curve.laws import Curves, Law, Sizes, fit_law
from selftune.evaluate.statistics.clusters import Numbers
from selftune.evaluate.statistics.interval import CONFIDENCE

FARTHEST = 10.0
"""No forecast goes beyond so many times the largest size."""
DRAWS = 2000
_CLOSE_AICC = 4.0
"""Laws whose criteria are not further apart are not told apart (Burnham and Anderson 2002, 2.6)."""
_SEED = 20260201


class Span(Record):
    """A number with the bounds of its interval; None where nothing tells how sure it is."""

    value: float
    low: float | None
    high: float | None

    @property
    def width(self) -> float | None:
        """How wide the interval is."""
        return None if self.low is None or self.high is None else self.high - self.low


class Forecast(Record):
    """What training on more rows would bring."""

    times: float
    """As many times the largest size that was tried."""
    rows: int
    error: Span
    """On other items of the same kind."""
    same_items: Span
    """On the items that the curve was measured with."""
    gain: Span
    """How much less than at the largest size."""


class Need(Record):
    """How many rows an error needs."""

    error: float
    rows: float | None
    """None where the curve never gets there."""
    low: float | None
    """95 % interval, with `high`; None beyond what can be forecast."""
    high: float | None
    reached: float
    """Share of the curves that could have been found as well that get there within the limit."""
    limit: int
    """Rows beyond which nothing is said."""


class Drawn:
    """Curves that could have been found as well; made once, asked often."""

    def __init__(self, fit: Fit, *, draws: int = DRAWS, seed: int = _SEED) -> None:
        self.fit = fit
        self._random = np.random.default_rng(seed)
        self._families = [self._draw(fit.curve, draws)] if fit.noise is not None else []
        if self._families and _is_as_good(fit, "power"):
            self._families.append(self._draw(fit.law("power"), draws))

    def forecast(self, times: float) -> Forecast:
        """Return what so many times the largest size would bring; at most `FARTHEST`."""
        if not 0 < times <= FARTHEST:
            raise ValueError(f"{times!r} is not from 0 to {FARTHEST:g}")
        largest = self.fit.points[-1]
        rows = round(times * largest.rows)
        value, now = self.fit.curve.at(rows), self.fit.curve.at(largest.rows)
        families = [curves.at(np.array([rows, largest.rows], float)) for curves in self._families]
        errors = [self._limited(found[:, 0]) for found in families]
        return Forecast(
            times=times,
            rows=rows,
            error=_span(value, [self._limited(self._on_others(found)) for found in errors]),
            same_items=_span(value, errors),
            gain=_span(now - value, [found[:, 1] - found[:, 0] for found in families]),
        )

    def band(self, rows: Numbers) -> tuple[Numbers, Numbers] | None:
        """Return the bounds of the curve on the same items; None where nothing tells."""
        if not self._families:
            return None
        tails = [_tails(self._limited(curves.at(rows))) for curves in self._families]
        lows, highs = zip(*tails, strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def need(self, error: float) -> Need:
        """Return how many rows would bring the error down to this one, on the same items."""
        limit = round(FARTHEST * self.fit.points[-1].rows)
        needed = [_rows_for(curves, error) for curves in self._families]
        tails = [_tails(found) for found in needed]
        low = min((float(each[0]) for each in tails), default=math.inf)
        high = max((float(each[1]) for each in tails), default=math.inf)
        own = float(_rows_for(_curves(self.fit.curve), error)[0])
        return Need(
            error=error,
            rows=own if own < math.inf else None,
            low=low if low <= limit else None,
            high=high if high <= limit else None,
            reached=min((float((found <= limit).mean()) for found in needed), default=0.0),
            limit=limit,
        )

    def _draw(self, law: Fitted, draws: int) -> Curves:
        """Return the law fitted to points that are drawn around it."""
        fit, noise = self.fit, self.fit.noise or 0.0
        drawn = noise * fit.freedom / self._random.chisquare(fit.freedom, draws)
        spread = np.sqrt(drawn)[:, None] * np.sqrt(fit.variances)[None, :]
        levels = _curves(law).at(fit.rows)
        errors = levels + spread * self._random.normal(size=(draws, len(fit.points)))
        top = math.inf if fit.most is None else fit.most
        return fit_law(law.law, Sizes(fit.rows, 1 / fit.variances), errors, top)

    def _on_others(self, errors: Numbers) -> Numbers:
        """Return errors as they could be on other items of the same kind."""
        known = self.fit.points[-1].item_error
        return errors + (known or 0.0) * self._random.normal(size=len(errors))

    def _limited(self, errors: Numbers) -> Numbers:
        return np.asarray(np.clip(errors, 0.0, self.fit.most))


def _is_as_good(fit: Fit, law: Law) -> bool:
    """Return whether a simpler law explains the points nearly as well as the curve."""
    other, own = fit.law(law).aicc, fit.curve.aicc
    return other is None or own is None or other - own < _CLOSE_AICC


def _curves(law: Fitted) -> Curves:
    values = (law.floor, law.scale, law.exponent, 0.0)
    floor, scale, exponent, misfit = (np.array([value]) for value in values)
    return Curves(floor, scale, exponent, misfit)


def _rows_for(curves: Curves, error: float) -> Numbers:
    """Return the rows at which each curve has come down to an error; infinite where it never does."""
    above = error - curves.floor
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rows = np.exp(np.log(curves.scale / above) / curves.exponent)
    never = np.where(curves.floor <= error, 0.0, math.inf)  # a flat curve is there, or is not
    return np.asarray(np.where(curves.scale <= 0, never, np.where(above > 0, rows, math.inf)))


def _span(value: float, families: list[Numbers]) -> Span:
    """Return the interval that holds what each family of draws says."""
    if not families:
        return Span(value=value, low=None, high=None)
    tails = [_tails(drawn) for drawn in families]
    low = min(float(each[0]) for each in tails)
    high = max(float(each[1]) for each in tails)
    return Span(value=value, low=min(low, value), high=max(high, value))


def _tails(drawn: Numbers) -> tuple[Numbers, Numbers]:
    """Return the bounds of each column; `inverted_cdf` needs no number between two infinite ones."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return low, high
