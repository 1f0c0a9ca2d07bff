"""Bars as inline SVG: no script, no request, readable in light and dark and by screen readers.

Colours are CSS variables of the page. Everything that came from a user is escaped here.
"""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from selftune.data.distribution import Bin

_WIDTH = 640
_ROW, _LEFT, _RIGHT = 26, 230, 120
_LEAST_BINS = 8
"""Fewer bars are drawn as wide as so many would be."""


def histogram(bins: Sequence[Bin], title: str, unit: str) -> Markup:
    """Return how many rows fall into each range, with the range and the count as a tooltip."""
    height, base = 190, 150
    tallest = max((one.count for one in bins), default=0) or 1
    wide = (_WIDTH - 40) / max(len(bins), _LEAST_BINS)
    parts = [_open(height, title)]
    parts.append(f'<line class="grid" x1="20" x2="{_WIDTH - 20}" y1="{base}" y2="{base}"/>')
    for number, one in enumerate(bins):
        tall = (base - 24) * one.count / tallest
        said = f"{_range(one)} {escape(unit)}: {one.count:,} rows"
        parts.append(
            f'<rect class="bar" x="{20 + wide * number:.1f}" y="{base - tall:.1f}" '
            f'width="{max(wide - 2, 1):.1f}" height="{tall:.1f}"><title>{said}</title></rect>'
        )
    parts.append(_text(20, 14, f"{tallest:,} rows at most", "start"))
    if bins:
        first, last = bins[0], bins[-1]
        parts.append(_text(20, base + 18, f"{first.low:,} {escape(unit)}", "start"))
        if last.high > first.low:
            end = 20 + wide * len(bins)
            parts.append(_text(max(end, 200), base + 18, f"{last.high:,} {escape(unit)}", "end"))
    return Markup("".join([*parts, "</svg>"]))  # every text in it is escaped


def shares(rows: Sequence[tuple[str, float, str]], title: str) -> Markup:
    """Return one bar from 0 to 1 for each label, with a text at its end."""
    height = _ROW * len(rows) + 6
    longest = max((share for _, share, _ in rows), default=0) or 1
    span = _WIDTH - _LEFT - _RIGHT
    parts = [_open(height, title)]
    for number, (label, share, said) in enumerate(rows):
        y = _ROW * number + 4
        parts.append(_text(_LEFT - 8, y + 13, escape(_short(label)), "end"))
        parts.append(
            f'<rect class="bar" x="{_LEFT}" y="{y}" height="18" rx="3" '
            f'width="{max(span * share / longest, 1):.1f}"/>'
        )
        parts.append(_text(_WIDTH - _RIGHT + 8, y + 13, escape(said), "start"))
    return Markup("".join([*parts, "</svg>"]))  # every text in it is escaped


def _open(height: int, title: str) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{name}"><title>{name}</title>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _range(one: Bin) -> str:
    return f"{one.low:,}" if one.low == one.high else f"{one.low:,} to {one.high:,}"


def _short(label: str) -> str:
    line = " ".join(label.split())
    return line if len(line) <= 34 else f"{line[:33]}…"
