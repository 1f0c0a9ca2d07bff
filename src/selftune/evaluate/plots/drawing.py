"""What all plots are drawn with: a canvas as wide as a phone, axes, ticks, safe text."""

import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH = 440
_COLORS = 8
_MOST_LETTERS = 58

Place = Callable[[float], float]


def color(number: int) -> str:
    """Return the CSS class of a model's colour; the first is the baseline."""
    return f"c{number % _COLORS}"


def short(text: str, most: int = _MOST_LETTERS) -> str:
    """Return a label that fits, escaped; what is left out is its middle, for names differ at ends."""
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return escape(text)


def canvas(height: float, title: str, told: str, parts: Sequence[str], width: float = WIDTH) -> str:
    """Return a picture; `told` is what it shows, for who cannot see it."""
    name = escape(f"{title}. {told}" if told else title)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{name}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, kind: str) -> str:
    """Return text; the words are escaped already."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{words}</text>'


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers from low to high."""
    span = high - low
    if not 0 < span < math.inf:
        return [low]
    size = 10 ** math.floor(math.log10(span / count))
    step = next(size * by for by in (1, 2, 5, 10) if span / (size * by) <= count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Return a number of an axis."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.6g}"


class Plane:
    """Two axes with a grid."""

    left, right, top = 58.0, WIDTH - 12.0, 24.0

    def __init__(
        self,
        across: tuple[float, float],
        up: tuple[float, float],
        names: tuple[str, str],
        height: float = 270,
    ) -> None:
        self.height = height
        self.bottom = height - 42
        self._across, self._up = _wide(*across), _wide(*up)
        self.parts: list[str] = []
        self._grid(names)

    def x(self, value: float) -> float:
        """Return where a value is from the left."""
        low, high = self._across
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Return where a value is from the top."""
        low, high = self._up
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Return the path through points."""
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def _grid(self, names: tuple[str, str]) -> None:
        for value in ticks(*self._up):
            y = self.y(value)
            self.parts.append(
                f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            self.parts.append(text(self.left - 6, y + 4, tick_text(value), "end"))
        for value in ticks(*self._across):
            self.parts.append(text(self.x(value), self.bottom + 16, tick_text(value), "middle"))
        middle = (self.left + self.right) / 2
        self.parts.append(text(middle, self.height - 6, escape(names[0]), "middle"))
        self.parts.append(text(self.left - 30, self.top - 12, escape(names[1]), "axis"))


def _wide(low: float, high: float) -> tuple[float, float]:
    """Return bounds that are apart."""
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))
