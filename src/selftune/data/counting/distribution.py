"""How numbers are spread: a few of them in order, and a histogram."""

from collections.abc import Sequence

import numpy as np

from selftune.core.records import Record
from selftune.data.counting.lengths import Numbers

_BINS = 24


class Distribution(Record):
    """The spread of one number over rows. Percentiles are values that occur (nearest rank)."""

    least: int
    p5: int
    median: int
    mean: float
    p95: int
    p99: int
    most: int
    total: int


class Bin(Record):
    """How many values are from `low` to `high`, both included."""

    low: int
    high: int
    count: int


def distribution(values: Numbers) -> Distribution:
    """Return the spread of at least one value."""
    ranks = np.percentile(values, [5, 50, 95, 99], method="inverted_cdf")
    p5, median, p95, p99 = (int(value) for value in ranks)
    return Distribution(
        least=int(values.min()),
        p5=p5,
        median=median,
        mean=float(values.mean()),
        p95=p95,
        p99=p99,
        most=int(values.max()),
        total=int(values.sum()),
    )


def histogram(values: Numbers, bins: int = _BINS) -> tuple[Bin, ...]:
    """Return how many values fall into equal ranges of whole numbers, at most `bins` of them."""
    low, high = int(values.min()), int(values.max())
    width = max(1, -(-(high - low + 1) // bins))
    counts: Sequence[int] = np.bincount((values - low) // width).tolist()
    return tuple(
        Bin(low=low + width * number, high=low + width * (number + 1) - 1, count=count)
        for number, count in enumerate(counts)
    )
