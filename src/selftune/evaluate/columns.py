"""A round as columns: 100,000 questions of several models in a few dozen megabytes.

Texts stay in their files; of each line only its place is kept, to read the few that are shown.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.items import Item
from selftune.evaluate.results import Outcomes, Result, outcomes
from selftune.evaluate.rounds import ArmRecord, Round, RoundFolder
from selftune.evaluate.truth import Given, Truth, TruthReader

Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]
_PASSED, _FAILED, _UNKNOWN = 1, 0, -1
_T = TypeVar("_T", bound=BaseModel)


@dataclass(frozen=True)
class Questions:
    """All items of a round."""

    path: Path
    """The file that has them."""
    ids: tuple[str, ...]
    index: Whole
    """Their numbers, rising."""
    offset: Whole
    """Where each line begins in the file."""
    category: Whole
    """Place in `categories`; -1 is none."""
    categories: tuple[str, ...]
    weight: NDArray[np.float64]
    group: Whole | None
    """What each belongs to, as a number; None where each stands alone."""
    truth: Truth | None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Arm:
    """All results of one model of a round."""

    name: str
    record: ArmRecord
    folder: RoundFolder
    found: Round
    rows: Outcomes
    at: Whole
    """Place of each row's question."""
    offset: Whole
    """Where each row's line begins in the file."""
    given: NDArray[np.float64] | None
    """Number, or place in `texts`, of each row."""
    texts: tuple[str, ...]
    grades: tuple[NDArray[np.int8], ...]
    """For each grader: 1 passed, 0 failed, -1 not scored."""
    asked: Mask
    """Which questions its round has; all of them, unless it is another round."""


def read_questions(folder: RoundFolder, found: Round) -> Questions:
    """Read the items of a round.

    Raises:
        NotFound: the file is gone.
        InvalidInput: a line is damaged.

    """
    ids: list[str] = []
    index, offset, category, group = array("q"), array("q"), array("q"), array("q")
    weight = array("d")
    categories: dict[str, int] = {}
    groups: dict[str, int] = {}
    truth = TruthReader(found.graders)
    for start, item in _lines(folder.items, Item):
        ids.append(item.id)
        index.append(item.index)
        offset.append(start)
        weight.append(item.weight)
        named = item.category is not None
        category.append(
            categories.setdefault(item.category or "", len(categories)) if named else -1
        )
        # An item without a group is one by itself.
        group.append(groups.setdefault(item.group, len(groups)) if item.group else -len(ids))
        truth.add(item.item)
    return Questions(
        path=folder.items,
        ids=tuple(ids),
        index=_whole(index),
        offset=_whole(offset),
        category=_whole(category),
        categories=tuple(categories),
        weight=np.array(weight, np.float64),
        group=_whole(group) if groups else None,
        truth=truth.done(),
    )


def read_arms(
    folder: RoundFolder, found: Round, questions: Questions, truth: Truth | None
) -> dict[str, Arm]:
    """Read the results of a round.

    Raises:
        InvalidInput: a line is damaged, or names a model or an item that the round has not.

    """
    kept = {arm.name: _Kept(found, truth) for arm in found.arms}
    columns = outcomes(_noted(folder.results, kept), list(kept))
    made = {}
    for record in found.arms:
        mine, rows = kept[record.name], columns[record.name]
        # The same order as that of the columns: by item, then sample, then line.
        order = np.lexsort((mine.sample, mine.index)).astype(np.int64)
        last = _is_last(rows)
        arm = Arm(
            name=record.name,
            record=record,
            folder=folder,
            found=found,
            rows=rows,
            at=_places(rows.index, questions, folder),
            offset=_whole(mine.offset)[order],
            given=None if mine.given is None else np.array(mine.values, np.float64)[order],
            texts=() if mine.given is None else tuple(mine.given.texts),
            grades=tuple(np.array(grade, np.int8)[order] for grade in mine.grades),
            asked=np.ones(len(questions), np.bool_),
        )
        made[record.name] = arm if last.all() else only(arm, last)
    return made


def only(arm: Arm, chosen: Mask) -> Arm:
    """Return an arm with some of its rows."""
    columns = {
        field.name: getattr(arm.rows, field.name)[chosen]
        for field in fields(arm.rows)
        if field.name != "arm"
    }
    return replace(
        arm,
        rows=replace(arm.rows, **columns),
        at=arm.at[chosen],
        offset=arm.offset[chosen],
        given=None if arm.given is None else arm.given[chosen],
        grades=tuple(grade[chosen] for grade in arm.grades),
    )


def moved(arm: Arm, own: Questions, others: Questions) -> Arm:
    """Return an arm of another round on the questions that both rounds have, by their ids."""
    there = {name: place for place, name in enumerate(others.ids)}
    places = np.array([there.get(name, -1) for name in own.ids], np.int64)
    shared = only(arm, places[arm.at] >= 0)
    asked = np.zeros(len(others), np.bool_)
    asked[places[places >= 0]] = True
    return replace(shared, at=places[shared.at], asked=asked)


def read_line(path: Path, offset: int, kind: type[_T]) -> _T:
    """Return the record of the line that begins there."""
    with path.open("rb") as file:
        file.seek(offset)
        return kind.model_validate_json(file.readline())


def find_arm(arms: Mapping[str, Arm], name: str, folder: RoundFolder) -> Arm:
    """Return an arm by its name.

    Raises:
        NotFound: the round has none of this name.

    """
    if name not in arms:
        known = ", ".join(repr(each) for each in arms)
        raise NotFound(f"The round {folder.path.name!r} has no model {name!r}: it has {known}.")
    return arms[name]


class _Kept:
    """What is read of one arm's results beside the columns."""

    def __init__(self, found: Round, truth: Truth | None) -> None:
        self.index, self.sample, self.offset = array("q"), array("q"), array("q")
        self.values = array("d")
        self.given = None if truth is None else Given(truth, found.graders)
        self.grades = [array("b") for _ in found.graders]

    def add(self, start: int, result: Result) -> None:
        self.index.append(result.index)
        self.sample.append(result.sample)
        self.offset.append(start)
        if self.given is not None:
            is_said = result.state != "unanswered"
            self.values.append(self.given.value(result.output) if is_said else float("nan"))
        for number, grades in enumerate(self.grades):
            score = result.scores[number] if number < len(result.scores) else None
            known = score is not None and score.status == "scored"
            passed = known and score is not None and bool(score.passed)
            grades.append((_PASSED if passed else _FAILED) if known else _UNKNOWN)


def _noted(path: Path, kept: Mapping[str, _Kept]) -> Iterator[Result]:
    for start, result in _lines(path, Result):
        if result.arm not in kept:
            raise InvalidInput(f"{str(path)!r} has results of {result.arm!r}, which was not asked.")
        kept[result.arm].add(start, result)
        yield result


def _lines(path: Path, kind: type[_T]) -> Iterator[tuple[int, _T]]:
    """Yield each line with where it begins; a last line that was cut is no line."""
    read: Callable[[bytes], _T] = kind.model_validate_json
    start = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    try:
                        yield start, read(line)
                    except ValidationError as error:
                        what = error.errors()[0]["msg"]
                        raise InvalidInput(f"{str(path)!r}, line {number}: {what}.") from error
                start += len(line)
    except FileNotFoundError as error:
        raise NotFound(f"There is no {str(path)!r}: the round is not whole.") from error


def _is_last(rows: Outcomes) -> Mask:
    """Return which rows no later line takes the place of."""
    last = np.ones(len(rows.index), np.bool_)
    same = (rows.index[1:] == rows.index[:-1]) & (rows.sample[1:] == rows.sample[:-1])
    last[:-1] = ~same
    return last


def _places(index: "np.ndarray", questions: Questions, folder: RoundFolder) -> Whole:
    places = np.searchsorted(questions.index, index)
    known = places < len(questions)
    if not known.all() or (questions.index[places] != index).any():
        raise InvalidInput(
            f"{str(folder.results)!r} has results of questions that {str(folder.items)!r} has not."
        )
    return places.astype(np.int64)


def _whole(numbers: Sequence[int]) -> Whole:
    return np.array(numbers, np.int64)
