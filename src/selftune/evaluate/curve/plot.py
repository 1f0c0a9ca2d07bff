"""The curve as inline SVG: runs, means with intervals, the fit, and a band to ten times the rows."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from selftune.evaluate.curve.forecast import FARTHEST, Drawn
from selftune.evaluate.curve.report import CurveReport, Metric, value_of, value_text
from selftune.evaluate.statistics.clusters import Numbers

_WIDTH, _HEIGHT = 640, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 28, 14, 48
_STEPS = 60
_TICKS = 5


class _Plane(NamedTuple):
    """Where values stand: rows on a logarithmic axis."""

    least: float
    most: float
    low: float
    high: float

    def x(self, rows: float) -> float:
        """Return how far right a number of rows is."""
        share = math.log(rows / self.least) / math.log(self.most / self.least)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return how far down a value is."""
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def curve_plot(report: CurveReport, drawn: Drawn, times: float = FARTHEST) -> str:
    """Return the plot; what it shows is also said in its description and in the tables."""
    sizes = report.fit.rows
    rows = np.geomspace(sizes[0], times * sizes[-1], _STEPS)
    line = [value_of(report.metric, report.fit.curve.at(at)) for at in rows]
    found = drawn.band(rows)
    band = None
    if found is not None:
        ends = [[value_of(report.metric, float(end)) for end in ends] for ends in found]
        band = np.array(ends).min(0), np.array(ends).max(0)
    plane = _plane(report, rows, line, band)
    parts = [_open(report), *_grid(plane, report)]
    if band is not None:
        parts.append(_band(plane, rows, band))
    measured = int((rows <= sizes[-1]).sum()) + 1
    parts.append(_path(plane, "line", rows[:measured], line[:measured]))
    parts.append(_path(plane, "line beyond", rows[measured - 1 :], line[measured - 1 :]))
    for size in report.sizes:
        x = plane.x(size.rows)
        low, high = plane.y(size.value.low), plane.y(size.value.high)
        parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        parts += [
            f'<circle class="dot" cx="{x:.1f}" cy="{plane.y(run):.1f}" r="4"/>' for run in size.runs
        ]
    return "".join([*parts, "</svg>"])


def _plane(
    report: CurveReport, rows: Numbers, line: Sequence[float], band: tuple[Numbers, Numbers] | None
) -> _Plane:
    """Return the axes: all that was measured and the curve fit in, the band as far as there is room."""
    seen = [*line, *(run for size in report.sizes for run in size.runs)]
    seen += [end for size in report.sizes for end in (size.value.low, size.value.high)]
    low, high = min(seen), max(seen)
    room = (high - low) or abs(high) or 1.0
    if band is not None:
        low = max(min(low, float(band[0].min())), low - room)
        high = min(max(high, float(band[1].max())), high + room)
    pad = 0.04 * ((high - low) or 1.0)
    bounds = (0.0, math.inf if report.metric == "error" else 1.0)
    low, high = max(low - pad, bounds[0]), min(high + pad, bounds[1])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return _Plane(float(rows[0]), float(rows[-1]), low, high)


def _grid(plane: _Plane, report: CurveReport) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for step in range(_TICKS):
        value = plane.low + step * (plane.high - plane.low) / (_TICKS - 1)
        y = plane.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = _short(report.metric, value)
        parts.append(f'<text class="label" x="{_LEFT - 6}" y="{y + 4:.1f}">{text}</text>')
    last = report.fit.points[-1].rows
    marks = [
        *(size.rows for size in report.sizes),
        *(each.forecast.rows for each in report.outlooks),
    ]
    taken = -math.inf
    for rows in sorted(set(marks)):
        x = plane.x(rows)
        kind = "grid" if rows <= last else "grid beyond"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        if x - taken >= 52:  # numbers that would stand in one another are left out
            parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}">{rows:,}</text>')
            taken = x
    middle = (_LEFT + right) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{_HEIGHT - 6}">training rows</text>')
    return parts


def _short(metric: Metric, value: float) -> str:
    return f"{value:.3g}" if metric == "error" else f"{100 * value:.0f} %"


def _band(plane: _Plane, rows: Numbers, band: tuple[Numbers, Numbers]) -> str:
    low, high = (np.clip(side, plane.low, plane.high) for side in band)
    there = [
        f"{plane.x(at):.1f} {plane.y(value):.1f}" for at, value in zip(rows, high, strict=True)
    ]
    back = [
        f"{plane.x(at):.1f} {plane.y(value):.1f}"
        for at, value in zip(rows[::-1], low[::-1], strict=True)
    ]
    return f'<path class="band" d="M{"L".join([*there, *back])}Z"/>'


def _path(plane: _Plane, kind: str, rows: Numbers, values: Sequence[float]) -> str:
    points = [f"{plane.x(x):.1f} {plane.y(y):.1f}" for x, y in zip(rows, values, strict=True)]
    return f'<path class="{kind}" d="M{"L".join(points)}"/>'


def _open(report: CurveReport) -> str:
    name = escape(f"{report.metric} by training rows: {report.name}")
    told = "; ".join(
        f"{size.rows:,} rows {value_text(report.metric, size.value.value)}" for size in report.sizes
    )
    told += ". The band is where the curve may run; beyond the largest size it is a forecast."
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="curve-name curve-told">'
        f'<title id="curve-name">{name}</title><desc id="curve-told">{escape(told)}</desc>'
    )
