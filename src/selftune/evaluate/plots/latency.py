"""How long answers took: one hill for each model, on one scale."""

from collections.abc import Sequence

from selftune.evaluate.curves import Histogram
from selftune.evaluate.figures import seconds_text
from selftune.evaluate.plots.drawing import WIDTH, canvas, color, short, text, ticks
from selftune.evaluate.summary import Seconds

_ROW, _HILL = 84, 46
_LEFT, _RIGHT = 6.0, 16.0


def latencies(rows: Sequence[tuple[str, Seconds, Histogram, int]], title: str) -> str:
    """Return a hill for each model, with its median; the last step counts all that is slower."""
    height = _ROW * len(rows) + 20
    span = WIDTH - _LEFT - _RIGHT
    steps = len(rows[0][2].counts)
    most = rows[0][2].width * steps
    parts = []
    for value in ticks(0, most):
        x = _LEFT + span * value / most
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 18}"/>')
        kind = "start" if value == 0 else "middle"
        parts.append(text(x, height - 4, seconds_text(value) if value else "0", kind))
    for number, (name, found, histogram, shade) in enumerate(rows):
        bottom = _ROW * (number + 1) - 4
        parts.append(text(_LEFT, bottom - _HILL - 20, short(name), "start"))
        parts.append(text(_LEFT, bottom - _HILL - 6, _told(found), "start soft small"))
        tallest = max(histogram.counts) or 1
        wide = span / steps
        path = "".join(
            f"L{_LEFT + wide * at:.1f} {bottom - _HILL * count / tallest:.1f}h{wide:.1f}"
            for at, count in enumerate(histogram.counts)
        )
        parts.append(f'<path class="{color(shade)}" d="M{_LEFT} {bottom}{path}V{bottom}z"/>')
        x = _LEFT + span * min(found.p50 / most, 1)
        parts.append(f'<path class="whisker" d="M{x:.1f} {bottom - _HILL}V{bottom + 3}"/>')
    told = "; ".join(f"{name}: {_told(found)}" for name, found, _, _ in rows)
    return canvas(height, title, told, parts)


def _told(found: Seconds) -> str:
    return (
        f"median {seconds_text(found.p50)}, p90 {seconds_text(found.p90)}, "
        f"p99 {seconds_text(found.p99)}"
    )
