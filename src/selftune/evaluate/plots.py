"""Plots as inline SVG: no script, no request, readable in light and dark and by screen readers.

Colours are CSS variables of the page. Everything that came from a user is escaped here.
"""

from collections.abc import Sequence
from html import escape

from selftune.evaluate.statistics import Interval

_WIDTH, _LEFT, _RIGHT = 640, 170, 60
_ROW = 30


def interval_bars(rows: Sequence[tuple[str, Interval, str]], title: str) -> str:
    """Return horizontal bars from 0 to 100 % with 95 % intervals; each row has a CSS class."""
    height = _ROW * len(rows) + 26
    parts = [_open(height, title)]
    span = _WIDTH - _LEFT - _RIGHT
    for tick in (0, 25, 50, 75, 100):
        x = _LEFT + span * tick / 100
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height - 20}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{height - 5}">{tick} %</text>')
    for number, (label, value, kind) in enumerate(rows):
        y = _ROW * number + 4
        middle = y + 9
        low, high = (_LEFT + span * bound for bound in (value.low, value.high))
        width = max(span * value.value, 1)
        parts.append(f'<text class="label" x="{_LEFT - 8}" y="{middle + 4}">{escape(label)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="18" rx="3"/>'
        )
        parts.append(
            f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}v10'
            f'M{high:.1f} {middle - 5}v10"/>'
        )
        text = f"{100 * value.value:.1f} %"
        x = _WIDTH - _RIGHT + 6
        parts.append(f'<text class="value" x="{x}" y="{middle + 4}">{text}</text>')
    return "".join([*parts, "</svg>"])


def line(points: Sequence[tuple[float, float]], title: str, x_name: str, y_name: str) -> str:
    """Return a line through points."""
    return _plane(points, title, (x_name, y_name), as_line=True)


def scatter(points: Sequence[tuple[float, float]], title: str, x_name: str, y_name: str) -> str:
    """Return points with the diagonal on which guess and truth agree."""
    return _plane(points, title, (x_name, y_name), as_line=False)


def histogram(values: Sequence[float], title: str, unit: str, *, bins: int = 24) -> str:
    """Return how often values occur."""
    low, high = min(values), max(values)
    step = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / step), bins - 1)] += 1
    height, base = 170, 145
    span = _WIDTH - 40
    parts = [_open(height, title)]
    for number, count in enumerate(counts):
        tall = (base - 10) * count / max(counts)
        x = 20 + span * number / bins
        parts.append(
            f'<rect class="tuned" x="{x:.1f}" y="{base - tall:.1f}" '
            f'width="{span / bins - 2:.1f}" height="{tall:.1f}"/>'
        )
    for share in (0, 0.5, 1):
        x = 20 + span * share
        text = f"{low + share * (high - low):.3g} {escape(unit)}"
        parts.append(f'<text class="tick" x="{x}" y="{height - 5}">{text}</text>')
    return "".join([*parts, "</svg>"])


def _plane(
    points: Sequence[tuple[float, float]], title: str, names: tuple[str, str], *, as_line: bool
) -> str:
    height, left, bottom, top = 260, 60, 225, 12
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys), max(ys)
    if not as_line:
        low_x = low_y = min(low_x, low_y)
        high_x = high_y = max(high_x, high_y)
    wide, tall = (high_x - low_x) or 1.0, (high_y - low_y) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (_WIDTH - left - 20) * (x - low_x) / wide
        return across, bottom - (bottom - top) * (y - low_y) / tall

    parts = [_open(height, title)]
    for share in (0, 0.5, 1):
        x, y = place(low_x + share * wide, low_y + share * tall)
        parts.append(f'<line class="grid" x1="{left}" x2="{_WIDTH - 20}" y1="{y}" y2="{y}"/>')
        y_text, x_text = f"{low_y + share * tall:.3g}", f"{low_x + share * wide:.3g}"
        parts.append(f'<text class="label" x="{left - 6}" y="{y + 4}">{y_text}</text>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 16}">{x_text}</text>')
    if as_line:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<path class="line" d="M{path}"/>')
    else:
        ends = [*place(low_x, low_x), *place(high_x, high_x)]
        parts.append('<line class="whisker" x1="{}" y1="{}" x2="{}" y2="{}"/>'.format(*ends))
        for x, y in (place(*point) for point in points):
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    x_name, y_name = (escape(name) for name in names)
    parts.append(f'<text class="tick" x="{_WIDTH / 2}" y="{height - 4}">{x_name}</text>')
    parts.append(f'<text class="axis" x="{left + 6}" y="{top + 14}">{y_name}</text>')
    return "".join([*parts, "</svg>"])


def _open(height: int, title: str) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{name}"><title>{name}</title>'
    )
