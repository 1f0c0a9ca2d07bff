"""When a fit is too weak to say anything, and why, in words."""

from collections.abc import Callable

from selftune.evaluate.curve.fit import Fit
from selftune.evaluate.curve.forecast import Forecast

ENOUGH_SIZES = 4
LEAST_SPAN = 4.0
"""Times the smallest size, from which the bend of a curve can be seen."""
_CLEAR_AICC = 2.0
_BENT = 0.01
_NAMES = {2: "Two", 3: "Three"}
Shown = Callable[[float], str]
"""Writes a difference of errors as text, in the unit of the metric."""


def doubts_of_fit(fit: Fit, shown: Shown) -> tuple[str, ...]:
    """Return why the curve cannot be relied on; empty when it can."""
    return tuple(
        found for doubt in (_sizes, _noise, _fall, _line, _bend) for found in doubt(fit, shown)
    )


def doubts_of_forecast(fit: Fit, forecast: Forecast, shown: Shown) -> tuple[str, ...]:
    """Return why one forecast cannot be relied on, even if the curve can."""
    width = forecast.same_items.width
    if width is None:
        return ("Nothing tells how sure it is.",)
    if width > fit.gained:
        return (
            f"Its interval is {shown(width)} wide, more than all that was gained so far "
            f"({shown(max(fit.gained, 0.0))}).",
        )
    return ()


def note_on_floor(fit: Fit, shown: Shown) -> str | None:
    """Say what is known of the error that no number of rows would take away; None if nothing is."""
    plain, own = fit.law("power").aicc, fit.curve.aicc
    if plain is None or own is None:
        return None
    told = f"(AICc {plain:.1f} without, {own:.1f} with)"
    if plain <= own + _CLEAR_AICC:
        return (
            f"A law without a floor explains the runs as well {told}: whether the error ever stops "
            "falling cannot be told from these sizes."
        )
    return f"The error levels off towards {shown(fit.curve.floor)}: a law without a floor fits worse {told}."


def _sizes(fit: Fit, shown: Shown) -> tuple[str, ...]:
    del shown
    count, rows = len(fit.points), fit.rows
    told = []
    if count < ENOUGH_SIZES:
        told.append(
            f"{_NAMES[count]} sizes for three parameters: the curve can pass through almost any "
            f"points. Try {ENOUGH_SIZES} sizes or more."
        )
    if rows[-1] < LEAST_SPAN * rows[0]:
        told.append(
            f"The largest size is only {rows[-1] / rows[0]:.1f} times the smallest: from so short a "
            f"piece the curve cannot be told. Begin at {rows[-1] / (2 * LEAST_SPAN):.0f} rows."
        )
    return tuple(told)


def _noise(fit: Fit, shown: Shown) -> tuple[str, ...]:
    deviation = fit.deviation
    if deviation is None:
        return (
            "Nothing tells how far runs scatter: there is one run of each size, and no size to "
            "spare. Train each size with several seeds (--seeds 3).",
        )
    told = []
    if fit.freedom < 2:
        told.append(
            "A single pair of runs tells how far runs scatter. Train each size with several seeds "
            "(--seeds 3)."
        )
    if 0 < fit.gained <= deviation:
        told.append(
            f"Seeds disagree more than sizes: a run lies {shown(deviation)} from the curve, and "
            f"from the smallest size to the largest {shown(fit.gained)} was gained."
        )
    return tuple(told)


def _fall(fit: Fit, shown: Shown) -> tuple[str, ...]:
    if fit.gained > 0:
        return ()
    first, last = fit.points[0], fit.points[-1]
    return (
        f"More rows did not help: {last.rows:,} rows are "
        + (
            f"no better than {first.rows:,}."
            if fit.gained == 0
            else f"worse than {first.rows:,}, by {shown(-fit.gained)}."
        ),
    )


def _line(fit: Fit, shown: Shown) -> tuple[str, ...]:
    del shown
    known = [law.aicc for law in (fit.curve, fit.law("power")) if law.aicc is not None]
    flat = fit.law("flat").aicc
    if flat is None or not known or fit.gained <= 0 or flat - min(known) > _CLEAR_AICC:
        return ()
    return (
        f"A flat line explains the runs as well (AICc {flat:.1f}, a curve {min(known):.1f}): no "
        "effect of size is shown.",
    )


def _bend(fit: Fit, shown: Shown) -> tuple[str, ...]:
    del shown
    if fit.bend is None or fit.bend >= _BENT:
        return ()
    return (
        "The sizes lie farther from the curve than seeds scatter "
        f"(p = {fit.bend:.1g}): a power law is not their law.",
    )
