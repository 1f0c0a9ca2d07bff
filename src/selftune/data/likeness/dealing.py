"""Bundles of rows that stay together -> sides of the wanted sizes, each answer in proportion."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from selftune.core.errors import InvalidInput

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")
HELD_OUT: tuple[Side, ...] = ("validation", "test")


class Block(NamedTuple):
    """Rows that stay together."""

    rows: tuple[int, ...]
    label: str


def dealt(
    blocks: Sequence[Block], wanted: dict[Side, int], draw: random.Random
) -> dict[Side, list[Block]]:
    """Return which blocks go to which side; `wanted` says how many rows each should have.

    Raises:
        InvalidInput: there are fewer blocks than sides.

    """
    sides = _drawn(blocks, wanted, draw)
    _fill_empty(sides, wanted)
    _swap_in_missing(sides)
    return sides


def _drawn(
    blocks: Sequence[Block], wanted: dict[Side, int], draw: random.Random
) -> dict[Side, list[Block]]:
    """Deal blocks, large ones first and label after label, each to the side that lags most behind."""
    total = sum(wanted.values())
    shuffled = draw.sample(blocks, len(blocks))
    order = sorted(shuffled, key=lambda block: (-len(block.rows), block.label))
    sides: dict[Side, list[Block]] = {side: [] for side in SIDES}
    counts, seen = dict.fromkeys(SIDES, 0), 0
    for block in order:
        seen += len(block.rows)
        lags = {side: wanted[side] * seen / total - counts[side] for side in SIDES}
        room = [side for side in SIDES if counts[side] + len(block.rows) <= wanted[side]]
        side = max(room or ("train",), key=lags.__getitem__)
        sides[side].append(block)
        counts[side] += len(block.rows)
    return sides


def _fill_empty(sides: dict[Side, list[Block]], wanted: dict[Side, int]) -> None:
    """Give a side that got nothing, since all blocks are too large for it, the smallest of them.

    Raises:
        InvalidInput: all rows are one block.

    """
    for side in HELD_OUT:
        if not wanted[side] or sides[side]:
            continue
        if len(sides["train"]) < 2:
            raise InvalidInput(
                f"The rows make {sum(map(len, sides.values()))} bundles that are nearly the same or of "
                f"one group, too few for {side} rows too: group or compare them more finely (--near)."
            )
        smallest = min(sides["train"], key=lambda block: len(block.rows))
        sides["train"].remove(smallest)
        sides[side].append(smallest)


def _swap_in_missing(sides: dict[Side, list[Block]]) -> None:
    """Give sides a row of each answer that they lack, for one of an answer that they have twice.

    Where answers are no closed set, all blocks have the same label, and nothing is swapped.
    """
    spare = Counter(block.label for block in sides["train"])
    for side in HELD_OUT:
        theirs = sides[side]
        present = Counter(block.label for block in theirs)
        single = [at for at, block in enumerate(theirs) if len(block.rows) == 1]
        places = sorted(single, key=lambda at: present[theirs[at].label])
        for at, block in enumerate(sides["train"]):
            if present[block.label] or spare[block.label] < 2 or len(block.rows) > 1:
                continue
            while places and present[theirs[places[-1]].label] < 2:
                places.pop()
            if not places:
                break
            given = places.pop()
            sides["train"][at], theirs[given] = theirs[given], block
            present.update({block.label: 1, sides["train"][at].label: -1})
            spare.update({block.label: -1, sides["train"][at].label: 1})
