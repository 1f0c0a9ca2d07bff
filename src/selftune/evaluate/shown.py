"""The few questions that a report shows in full: what flipped, and what went worst."""

import json
from collections.abc import Iterable, Sequence

import numpy as np

from selftune.core.records import Record
from selftune.evaluate.columns import Arm, Questions, Whole, read_line
from selftune.evaluate.compare import Comparison
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result, State
from selftune.evaluate.units import Units
from selftune.models.messages import content_text

MOST_SHOWN = 12
_MOST_LETTERS = 20_000
_MOST_REASON = 300


class Said(Record):
    """One model's answer to a question that is shown."""

    arm: str
    state: State
    passed: bool
    output: str
    reason: str
    sample: int


class Shown(Record):
    """One question in full."""

    index: int
    id: str
    category: str | None
    question: str
    details: str
    """The item's other fields, as JSON."""
    answers: tuple[Said, ...]


def flipped(
    comparison: Comparison, arms: tuple[Arm, Arm], questions: Questions
) -> tuple[Shown, ...]:
    """Return questions that only one of two models passes, losses first."""
    half = MOST_SHOWN // 2
    losses, gains = comparison.only_baseline, comparison.only_this
    losses = losses[: max(half, MOST_SHOWN - len(gains))]
    numbers = (*losses, *gains[: MOST_SHOWN - len(losses)])
    places = np.searchsorted(questions.index, np.array(numbers, np.int64))
    return tuple(_shown(int(place), arms, questions) for place in places)


def worst(arm: Arm, found: Units, others: Sequence[Arm], questions: Questions) -> tuple[Shown, ...]:
    """Return the questions that went worst: least credit, then the largest error."""
    failed: Whole = np.flatnonzero(found.known & ~found.wins)
    credit = np.nan_to_num(found.credit[failed], nan=1.0)
    # What is no credit is an error, of which more is worse; without one, nothing was answered.
    value = np.nan_to_num(found.value[failed], nan=np.inf)
    size = np.where(np.isclose(value, credit), 0.0, value)
    weight = questions.weight[failed]
    order = np.lexsort((failed, -size, -weight, credit))[:MOST_SHOWN]
    arms = (*others, arm)
    return tuple(_shown(int(place), arms, questions) for place in failed[order])


def why_not_scored(arm: Arm) -> str:
    """Return why the first answer that could not be scored was not; empty where all were."""
    rows = np.flatnonzero(~arm.rows.is_scored)
    if not len(rows):
        return ""
    result = read_line(arm.folder.results, int(arm.offset[rows[0]]), Result)
    reasons = [result.reason, *(s.reason or "" for s in result.scores if s.status != "scored")]
    return _cut(next((reason for reason in reasons if reason), ""), _MOST_REASON)


def _shown(place: int, arms: Iterable[Arm], questions: Questions) -> Shown:
    item = read_line(questions.path, int(questions.offset[place]), Item)
    asked = [content_text(message) for message in item.messages if message.get("role") == "user"]
    details = {name: value for name, value in item.item.items() if str(value) not in asked}
    return Shown(
        index=item.index,
        id=item.id,
        category=item.category,
        question=_cut(asked[-1] if asked else ""),
        details=_cut(json.dumps(details, ensure_ascii=False)),
        answers=tuple(said for arm in arms if (said := _said(arm, place)) is not None),
    )


def _said(arm: Arm, place: int) -> Said | None:
    """Return what a model answered; of several answers, the first one that failed."""
    rows = np.flatnonzero(arm.at == place)
    if not len(rows):
        return None
    failed = rows[~arm.rows.passed[rows]]
    row = int(failed[0] if len(failed) else rows[0])
    result = read_line(arm.folder.results, int(arm.offset[row]), Result)
    reasons = [result.reason, *(score.reason or "" for score in result.scores)]
    return Said(
        arm=arm.name,
        state=result.state,
        passed=result.passed,
        output=_cut(result.said),
        reason=_cut("; ".join(reason for reason in reasons if reason)),
        sample=result.sample,
    )


def _cut(text: str, most: int = _MOST_LETTERS) -> str:
    more = len(text) - most
    return text if more <= 0 else f"{text[:most]} … and {more:,} characters more"
