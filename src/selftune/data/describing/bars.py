"""A histogram as inline SVG: no script, no request, readable in light and dark.

It has no text inside, so that it can be stretched to any width; what it shows is said in its name,
for screen readers, and in tooltips.
"""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from selftune.data.counting.distribution import Bin

_WIDTH, _HEIGHT = 600, 140
_LEAST_BINS = 8
"""Fewer bars are drawn as wide as so many would be."""


def histogram(bins: Sequence[Bin], unit: str) -> Markup:
    """Return how many rows fall into each range."""
    tallest = max(bins, key=lambda one: one.count)
    name = (
        f"Histogram of {len(bins)} ranges from {bins[0].low:,} to {bins[-1].high:,} {unit}; "
        f"most rows, {tallest.count:,}, have {span(tallest)}"
    )
    wide = _WIDTH / max(len(bins), _LEAST_BINS)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(name)}">'
    ]
    for number, one in enumerate(bins):
        tall = _HEIGHT * one.count / (tallest.count or 1)
        said = escape(f"{span(one)} {unit}: {one.count:,} rows")
        parts.append(
            f'<rect class="bar" x="{wide * number:.2f}" y="{_HEIGHT - tall:.2f}" '
            f'width="{wide * 0.94:.2f}" height="{tall:.2f}"><title>{said}</title></rect>'
        )
    return Markup("".join([*parts, "</svg>"]))


def span(one: Bin) -> str:
    """Return a range in words."""
    return f"{one.low:,}" if one.low == one.high else f"{one.low:,} to {one.high:,}"
