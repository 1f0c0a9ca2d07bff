"""Shares with their intervals: one bar for each model, or a row of marks for each category."""

from collections.abc import Sequence
from dataclasses import dataclass

from selftune.evaluate.plots.drawing import WIDTH, canvas, color, short, text
from selftune.evaluate.statistics import Interval

_ROW = 44
_LEFT, _RIGHT = 6.0, 64.0
_SPAN = WIDTH - _LEFT - _RIGHT
_MARK = 13
_NAME = 24
_AXIS = 22
_LEGEND = 17


@dataclass(frozen=True)
class Bar:
    """One share."""

    name: str
    value: Interval
    color: int
    """Which model's it is."""


def shares(bars: Sequence[Bar], title: str) -> str:
    """Return bars from 0 to 100 %, each with its interval."""
    height = _ROW * len(bars) + _AXIS
    parts = _grid(height)
    for number, bar in enumerate(bars):
        y = _ROW * number
        middle = y + 29
        parts.append(text(_LEFT, y + 15, short(bar.name), "start"))
        parts.append(
            f'<rect class="{color(bar.color)}" x="{_LEFT}" y="{y + 21}" '
            f'width="{max(_SPAN * bar.value.value, 1):.1f}" height="16" rx="2"/>'
        )
        parts.append(_whisker(bar.value, middle))
        percent = f"{100 * bar.value.value:.1f} %"
        parts.append(text(WIDTH - _RIGHT + 8, middle + 4, percent, "start strong"))
    return canvas(height, title, "; ".join(_told(bar) for bar in bars), parts)


def categories(groups: Sequence[tuple[str, Sequence[Bar]]], title: str) -> str:
    """Return a row of marks with intervals for each category, one mark for each model."""
    models = {bar.color: bar.name for _, bars in groups for bar in bars}
    marks = sum(_NAME + _MARK * len(bars) for _, bars in groups) + _AXIS + 4
    height = marks + _LEGEND * len(models) + 6
    parts, y = _grid(marks), 0.0
    for number, (shade, name) in enumerate(sorted(models.items()), start=1):
        line = marks + _LEGEND * number
        parts.append(_mark(_LEFT + 6, line - 4, shade))
        parts.append(text(_LEFT + 18, line, short(name), "start"))
    for name, bars in groups:
        parts.append(text(_LEFT, y + 16, short(name), "start"))
        y += _NAME
        for bar in bars:
            middle = y + _MARK / 2
            x = _LEFT + _SPAN * bar.value.value
            parts.append(_whisker(bar.value, middle, kind=f"whisker {color(bar.color)}"))
            parts.append(_mark(x, middle, bar.color))
            percent = f"{100 * bar.value.value:.0f} %"
            parts.append(text(WIDTH - _RIGHT + 8, middle + 4, percent, "start small"))
            y += _MARK
    told = "; ".join(f"{name}: {', '.join(_told(bar) for bar in bars)}" for name, bars in groups)
    return canvas(height, title, told, parts)


def _mark(x: float, y: float, number: int) -> str:
    """Return a mark whose shape tells models apart, too."""
    kind, shape = color(number), number % 4
    if shape == 0:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == 1:
        return f'<rect class="{kind}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    if shape == 2:
        return f'<path class="{kind}" d="M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>'
    return f'<path class="{kind}" d="M{x:.1f} {y - 5:.1f}l5.5 9.5h-11z"/>'


def _grid(height: float) -> list[str]:
    parts = []
    for tick in (0, 25, 50, 75, 100):
        x = _LEFT + _SPAN * tick / 100
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 18:.1f}"/>'
        )
        kind = "start" if tick == 0 else "middle"
        parts.append(text(x, height - 4, f"{tick} %", kind))
    return parts


def _whisker(value: Interval, y: float, kind: str = "whisker") -> str:
    low, high = (_LEFT + _SPAN * bound for bound in (value.low, value.high))
    return (
        f'<path class="{kind}" d="M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 4:.1f}v8'
        f'M{high:.1f} {y - 4:.1f}v8"/>'
    )


def _told(bar: Bar) -> str:
    low, high = 100 * bar.value.low, 100 * bar.value.high
    return f"{bar.name} {100 * bar.value.value:.1f} %, from {low:.1f} to {high:.1f}"
