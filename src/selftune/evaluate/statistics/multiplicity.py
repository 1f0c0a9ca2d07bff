"""Many comparisons at once: by chance alone, one in twenty shows a difference at 5 %."""

from collections.abc import Sequence

from selftune.core.errors import InvalidInput


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that keep the risk of any false finding (Holm 1979), in the same order."""
    _check(p_values)
    count, worst = len(p_values), 0.0
    adjusted = [1.0] * count
    for rank, at in enumerate(sorted(range(count), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (count - rank) * p_values[at]))
        adjusted[at] = worst
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that keep the share of false findings (1995), in the same order."""
    _check(p_values)
    count, best = len(p_values), 1.0
    adjusted = [1.0] * count
    by_size = sorted(range(count), key=p_values.__getitem__, reverse=True)
    for at, rank in zip(by_size, range(count, 0, -1), strict=True):
        best = min(best, count / rank * p_values[at])
        adjusted[at] = best
    return tuple(adjusted)


def _check(p_values: Sequence[float]) -> None:
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise InvalidInput(f"{wrong[0]!r} is not a p-value: it must be from 0 to 1.")
