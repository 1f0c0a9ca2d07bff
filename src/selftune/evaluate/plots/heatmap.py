"""Which label is taken for which: rows are right answers, columns what was said."""

from selftune.evaluate.confusion import Confusion
from selftune.evaluate.plots.drawing import canvas, short, text

_CELL = 22
_LETTER = 6.6
_MOST_LETTERS = 22
_DARKEST = 0.6
"""More, and the numbers in the cells cannot be read."""


def heatmap(found: Confusion, title: str) -> str:
    """Return the matrix; the darker, the larger the share of the row."""
    matrix = found.matrix or ()
    names = [label.name for label in found.labels]
    letters = min(max((len(name) for name in names), default=1), _MOST_LETTERS)
    left = 16 + _LETTER * max(letters, 5)
    columns = [*names, "other"]
    width, height = left + _CELL * len(columns) + 4, left + _CELL * len(names) + 4
    parts = [text(4, 14, "right ↓ said →", "axis")]
    for at, name in enumerate(columns):
        x = left + _CELL * at + _CELL / 2 + 4
        parts.append(
            f'<text class="start" transform="translate({x:.1f} {left - 6:.1f}) rotate(-90)">'
            f"{short(name, _MOST_LETTERS)}</text>"
        )
    for row, name in enumerate(names):
        y = left + _CELL * row
        parts.append(text(left - 6, y + 15, short(name, _MOST_LETTERS), "end"))
        parts += _row(matrix[row], row, left, y)
    told = ", ".join(f"{one.n} times {one.right} as {one.given}" for one in found.mistakes[:5])
    told = f"Commonest mistakes: {told}" if told else "No mistakes"
    return canvas(height, title, told, parts, width)


def _row(counts: tuple[int, ...], right: int, left: float, y: float) -> list[str]:
    total, parts = max(sum(counts), 1), []
    for column, count in enumerate(counts):
        x = left + _CELL * column
        kind = "hit" if column == right else "miss"
        parts.append(
            f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{_CELL - 1}" height="{_CELL - 1}"/>'
        )
        if count:
            opacity = 0.12 + (_DARKEST - 0.12) * count / total
            parts.append(
                f'<rect class="{kind}" fill-opacity="{opacity:.2f}" x="{x:.1f}" y="{y:.1f}" '
                f'width="{_CELL - 1}" height="{_CELL - 1}"/>'
            )
            parts.append(text(x + _CELL / 2 - 0.5, y + 15, f"{count}", "middle ink small"))
    return parts
