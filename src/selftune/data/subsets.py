"""Nested training subsets for learning curves: each size contains the smaller ones."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from selftune.core.errors import InvalidInput
from selftune.data.likeness.questions import labels
from selftune.data.rows import Row

Order = Literal["drawn", "first"]


def subsets(
    rows: Sequence[Row], sizes: Sequence[int], *, seed: int = 42, order: Order = "drawn"
) -> dict[int, tuple[int, ...]]:
    """Return the positions of the rows of each size, in the order of the rows.

    `drawn` draws by the seed, each answer in proportion where answers are a closed set; `first`
    takes rows from the beginning.

    Raises:
        InvalidInput: a size is below 1, or larger than the number of rows.

    """
    wrong = [size for size in sizes if not 1 <= size <= len(rows)]
    if wrong:
        raise InvalidInput(
            f"There is no subset of {wrong[0]} rows: there are {len(rows)} training rows."
        )
    drawn = list(range(len(rows))) if order == "first" else _nested_order(rows, seed)
    return {size: tuple(sorted(drawn[:size])) for size in sorted(set(sizes))}


def _nested_order(rows: Sequence[Row], seed: int) -> list[int]:
    """Return all positions, so that every beginning has each answer in proportion.

    The k-th of n rows with one answer stands at (k + u) / n of the way, u drawn for each answer.
    """
    draw = random.Random(seed)
    order = draw.sample(range(len(rows)), len(rows))
    chosen = labels(rows)
    if chosen is None:
        return order
    members: dict[str, list[int]] = defaultdict(list)
    for at in order:
        members[chosen[at]].append(at)
    place: dict[int, float] = {}
    for label in sorted(members):
        start = draw.random()
        for k, at in enumerate(members[label]):
            place[at] = (k + start) / len(members[label])
    return sorted(order, key=place.__getitem__)
