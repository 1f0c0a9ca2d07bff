"""Rows -> training, validation and test rows, with nothing on two sides that is nearly the same.

Rows that ask the same or nearly the same, and rows of one explicit group, are one block, which goes
to one side whole. Blocks are drawn by a seed; where answers are a closed set, each answer is spread
over the sides in proportion.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.leakage import Leak, Leakage, leakage, shown
from selftune.data.likeness.dealing import HELD_OUT, SIDES, Block, Side, dealt
from selftune.data.likeness.near import THRESHOLD, clusters
from selftune.data.likeness.questions import labels, questions
from selftune.data.rows import Row

_MIN_TRAINING_ROWS = 10
"""OpenAI refuses training files with fewer."""
_WIDE = 0.1
"""Half-width of an interval from which few differences can be seen."""
_LARGE_BLOCK = 0.2
_Z = 1.96
"""Quantile of the normal distribution for 95 %."""


class SplitOptions(Record):
    """How rows are split."""

    validation: float = 0.1
    """Share of the rows when below 1, else a number of rows."""
    test: float = 0.2
    """The same; rows that are given as test rows stand instead of it."""
    group_by: str | None = None
    """Field of a row, of its `metadata` or of its `item`: rows with one value of it stay together."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 42
    near: float | None = THRESHOLD
    """Share of words in common from which rows stay together; None, only equal questions do."""
    stratify: bool = True
    """Spread answers over the sides in proportion, where answers are a closed set."""
    keep_leaks: bool = False
    """Train on rows that given test rows ask too."""


class Split(Record):
    """Where each row goes: positions from 0, in the order of the rows."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    """Empty where test rows were given."""
    left_out: tuple[int, ...] = ()
    """Rows that given test rows ask too."""
    leakage: Leakage | None = None
    """What rows and given test rows share."""
    blocks: int
    """Rows or bundles of rows that were drawn."""
    stratified: bool
    advice: tuple[str, ...] = ()


class Origin(NamedTuple):
    """Where rows and test rows come from, when they were read from files and made chats of."""

    rows: Sequence[Row]
    """The rows as they stood, which may have a field to group by that a chat has not."""
    lines: Sequence[int]


def split(
    rows: Sequence[Row],
    options: SplitOptions | None = None,
    tests: Sequence[Row] | None = None,
    origins: tuple[Origin, Origin] | None = None,
) -> Split:
    """Return which rows train, validate and test; with `tests`, all but those that leak into them.

    `origins` says where the rows and the test rows stood; without it, lines count from 1.

    Raises:
        InvalidInput: there are no rows, more are asked for than there are, or a row has no group.

    """
    options = options or SplitOptions()
    if not rows:
        raise InvalidInput("There are no rows to split.")
    ours, theirs = origins or (_counted(rows), _counted(tests or ()))
    leaked = None
    if tests is not None:
        leaked = leakage(
            rows, tests, threshold=_threshold(options), lines=(ours.lines, theirs.lines)
        )
        shared = _group_leaks(ours, theirs, options.group_by)
        leaked = leaked.model_copy(update={"leaks": (*leaked.leaks, *shared)})
    lost = frozenset() if leaked is None or options.keep_leaks else leaked.training_lines
    kept = [at for at, line in enumerate(ours.lines) if line not in lost]
    wanted = _targets(len(kept), options, has_tests=tests is not None)
    chosen = labels(rows) if options.stratify else None
    blocks = _blocks(rows, kept, options, (ours.rows, chosen))
    sides = dealt(blocks, wanted, random.Random(options.seed))
    placed = {
        side: tuple(sorted(at for block in sides[side] for at in block.rows)) for side in SIDES
    }
    return Split(
        **placed,
        left_out=tuple(at for at, line in enumerate(ours.lines) if line in lost),
        leakage=leaked,
        blocks=len(blocks),
        stratified=chosen is not None,
        advice=tuple(_advice(placed, blocks, chosen, None if tests is None else len(tests))),
    )


def half_width(rows: int) -> float:
    """Return half of the 95 % interval of a share that is measured as 50 % on so many rows (Wilson)."""
    return _Z * sqrt(0.25 / rows + _Z**2 / (4 * rows**2)) / (1 + _Z**2 / rows)


def group_of(row: Row, field: str) -> str:
    """Return a row's value of a field: its own, of its metadata, or of its item.

    Raises:
        InvalidInput: it has none.

    """
    for holder in _holders(row):
        if isinstance(holder, dict) and field in holder:
            return canonical_json(holder[field])
    raise InvalidInput(
        f"A row has no field {field!r} to group by, neither itself nor in its metadata or item."
    )


def _targets(count: int, options: SplitOptions, *, has_tests: bool) -> dict[Side, int]:
    """Return how many rows each side should have."""
    wanted: dict[Side, int] = {"train": 0, "validation": 0, "test": 0}
    for side, size in zip(HELD_OUT, (options.validation, options.test), strict=True):
        if side == "test" and has_tests:
            continue
        if not (0 <= size < 1 or (size >= 1 and size % 1 == 0)):
            raise InvalidInput(
                f"The size {size} of the {side} rows is neither a share (0.1) nor a number (500)."
            )
        wanted[side] = round(size * count) if size < 1 else int(size)
    wanted["train"] = count - sum(wanted.values())
    if wanted["train"] < 1:
        raise InvalidInput(
            f"{wanted['validation']} rows to validate and {wanted['test']} to test leave none of "
            f"{count} rows to train on."
        )
    return wanted


def _counted(rows: Sequence[Row]) -> Origin:
    return Origin(rows, range(1, len(rows) + 1))


def _threshold(options: SplitOptions) -> float:
    return 1.0 if options.near is None else options.near


def _group_leaks(ours: Origin, theirs: Origin, field: str | None) -> Iterator[Leak]:
    """Yield rows whose group is among the test rows too, where those know of such groups."""
    if field is None or not any(_has_group(row, field) for row in theirs.rows):
        return
    first: dict[str, int] = {}
    for row, line in zip(theirs.rows, theirs.lines, strict=True):
        first.setdefault(group_of(row, field), line)
    for row, line in zip(ours.rows, ours.lines, strict=True):
        group = group_of(row, field)
        if group in first:
            shared = shown(f"{field} = {group}")
            yield Leak(
                kind="group",
                training_line=line,
                other_line=first[group],
                training_text=shared,
                other_text=shared,
                similarity=1.0,
                answers_agree=None,
            )


def _has_group(row: Row, field: str) -> bool:
    return any(isinstance(holder, dict) and field in holder for holder in _holders(row))


def _holders(row: Row) -> tuple[Any, ...]:
    return row, row.get("metadata"), row.get("item")


def _blocks(
    rows: Sequence[Row],
    kept: Sequence[int],
    options: SplitOptions,
    known: tuple[Sequence[Row], Sequence[str] | None],
) -> list[Block]:
    """Return the rows in the bundles that stay together, in the order of their first rows."""
    texts = questions(rows)
    originals, chosen = known
    block_of = clusters([texts[at] for at in kept], _threshold(options))
    if options.group_by is not None:
        block_of = _joined(block_of, [group_of(originals[at], options.group_by) for at in kept])
    members: dict[int, list[int]] = defaultdict(list)
    for block, at in zip(block_of, kept, strict=True):
        members[block].append(at)
    return [Block(tuple(m), "" if chosen is None else chosen[m[0]]) for m in members.values()]


def _joined(clustered: Sequence[int], groups: Sequence[str]) -> list[int]:
    """Return clusters after those that share a group became one."""
    parents: dict[Any, Any] = {}

    def root(name: Any) -> Any:
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = parents[parent]
            name = parents[name]
        return name

    for cluster, group in zip(clustered, groups, strict=True):
        parents[root((0, group))] = root((1, cluster))
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(root((1, cluster)), len(numbers)) for cluster in clustered]


def _advice(
    placed: dict[Side, tuple[int, ...]],
    blocks: Sequence[Block],
    chosen: Sequence[str] | None,
    given_tests: int | None,
) -> Iterator[str]:
    trained, tested = len(placed["train"]), given_tests or len(placed["test"])
    if trained < _MIN_TRAINING_ROWS:
        yield f"{trained} training rows are too few: OpenAI asks for at least {_MIN_TRAINING_ROWS}."
    if tested and half_width(tested) > _WIDE:
        yield (
            f"{tested} test rows show only large differences: a result of 50 % is known to "
            f"+- {100 * half_width(tested):.0f} points (95 %)."
        )
    largest = max((len(block.rows) for block in blocks), default=0)
    total = sum(len(block.rows) for block in blocks)
    if largest > max(1, _LARGE_BLOCK * total):
        yield f"{largest} of {total} rows are nearly the same or of one group, and stay on one side."
    if chosen is not None and placed["test"]:
        lacking = {chosen[at] for at in placed["train"]} - {chosen[at] for at in placed["test"]}
        if lacking:
            yield f"{len(lacking)} of the answers are not in the test rows, too few to spread."
