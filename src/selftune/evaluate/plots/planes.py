"""Plots on two axes: a curve, guesses against truth, a settling mean, cost against accuracy."""

from collections.abc import Sequence

from selftune.evaluate.curves import Guess, Running
from selftune.evaluate.figures import dollars_text
from selftune.evaluate.plots.drawing import WIDTH, Plane, canvas, color, short, text
from selftune.evaluate.statistics import Interval

_MOST_POINTS = 400
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 3", "6 2 1 2")


def line(points: Sequence[tuple[float, float]], title: str, names: tuple[str, str]) -> str:
    """Return a line through points, of which there may be very many."""
    step = max(1, -(-len(points) // _MOST_POINTS))
    points = [*points[::step], *([points[-1]] if (len(points) - 1) % step else [])]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    plane = Plane((min(xs), max(xs)), (min(0.0, *ys), max(ys)), names)
    plane.parts.append(f'<path class="line c1" d="{plane.path(points)}"/>')
    told = f"From {ys[0]:.3g} at {xs[0]:g} to {ys[-1]:.3g} at {xs[-1]:g}"
    return canvas(plane.height, title, told, plane.parts)


def scatter(guesses: Sequence[Guess], title: str, names: tuple[str, str]) -> str:
    """Return guesses against truth; on the diagonal they agree. Crosses did not pass."""
    values = [value for one in guesses for value in (one.truth, one.guess)]
    bounds = min(0.0, *values), max(values)
    plane = Plane(bounds, bounds, names, height=340)
    plane.parts.append(f'<path class="diagonal" d="{plane.path([(b, b) for b in bounds])}"/>')
    for one in guesses:
        x, y = plane.x(one.truth), plane.y(one.guess)
        if one.passed:
            plane.parts.append(f'<circle class="good" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        else:
            plane.parts.append(f'<path class="bad" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>')
    passed = sum(one.passed for one in guesses)
    told = f"{passed} of {len(guesses)} guesses shown are near enough to pass"
    return canvas(plane.height, title, told, plane.parts)


def running(
    curves: Sequence[tuple[str, Sequence[Running], int]], title: str, names: tuple[str, str]
) -> str:
    """Return how means settle, with their 95 % bands."""
    most = max(point.n for _, points, _ in curves for point in points)
    # The first few answers say little: their bands would leave no room for the rest.
    settled = [p for _, points, _ in curves for p in points if p.n >= max(5, most // 20)]
    top = max(point.high for point in settled or [p for _, ps, _ in curves for p in ps])
    plane = Plane((0, most), (0, top), names)
    for _, points, shade in curves:
        shown = [point for point in points if point.high <= top]
        there = [(point.n, point.high) for point in shown]
        back = [(point.n, point.low) for point in reversed(shown)]
        if shown:
            plane.parts.append(
                f'<path class="band {color(shade)}" d="{plane.path([*there, *back])}z"/>'
            )
            middle = plane.path([(point.n, point.mean) for point in shown])
            plane.parts.append(
                f'<path class="line {color(shade)}" stroke-dasharray="{_DASHES[shade % 8]}" '
                f'd="{middle}"/>'
            )
    legend, height = _legend([(name, shade) for name, _, shade in curves], plane.height)
    told = "; ".join(
        f"{name} {points[-1].mean:.3g}, from {points[-1].low:.3g} to {points[-1].high:.3g}"
        for name, points, _ in curves
    )
    return canvas(height, title, told, [*plane.parts, *legend])


def costs(points: Sequence[tuple[str, float, Interval, int]], title: str) -> str:
    """Return what 1,000 answers cost against the share that passes."""
    most = max(cost for _, cost, _, _ in points)
    plane = Plane((0, 1.15 * most), (0, 100), ("US dollars for 1,000 answers", "accuracy, %"))
    for number, (name, cost, value, shade) in enumerate(points, start=1):
        x, y = plane.x(cost), plane.y(100 * value.value)
        low, high = plane.y(100 * value.low), plane.y(100 * value.high)
        plane.parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        plane.parts.append(f'<circle class="{color(shade)}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        side, kind = (x - 9, "end") if x > WIDTH / 2 else (x + 9, "start")
        plane.parts.append(text(side, y + 4, f"{number}. {short(name, 24)}", kind))
    told = "; ".join(
        f"{name} {dollars_text(cost)}, {100 * value.value:.1f} %" for name, cost, value, _ in points
    )
    return canvas(plane.height, title, told, plane.parts)


def _legend(names: Sequence[tuple[str, int]], top: float) -> tuple[list[str], float]:
    parts, y = [], top
    for name, shade in names:
        parts.append(
            f'<path class="line {color(shade)}" stroke-dasharray="{_DASHES[shade % 8]}" '
            f'd="M6 {y + 4:.1f}h34"/>'
        )
        parts.append(text(48, y + 8, short(name, 54), "start"))
        y += 18
    return parts, y
