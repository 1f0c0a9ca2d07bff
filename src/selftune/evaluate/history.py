"""The rounds of an eval over time, each against the one before it on the same questions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selftune.core.errors import SelftuneError
from selftune.core.records import Record
from selftune.evaluate.columns import Arm, Questions, moved, read_arms, read_questions
from selftune.evaluate.compare import compare
from selftune.evaluate.pairing import partner
from selftune.evaluate.rounds import Round, RoundFolder, sound_rounds
from selftune.evaluate.statistics import Interval
from selftune.evaluate.units import share, units
from selftune.evaluate.verdict import STANDARD, Outcome, Policy


class PastArm(Record):
    """One model of a round."""

    name: str
    model: str
    scored: int
    expected: int
    accuracy: Interval | None
    points: float
    most_points: float
    against: str | None
    """Id of the round before, on the same questions; None for the first of its kind."""
    outcome: Outcome | None
    words: str


class Past(Record):
    """One round."""

    id: str
    created_at: int
    status: str
    source: str
    items: int
    items_sha256: str
    has_other_items: bool
    """Its questions are not those of the round before: their figures do not compare."""
    arms: tuple[PastArm, ...]
    problem: str
    """Why its files cannot be read; empty where they can."""


@dataclass(frozen=True)
class _Read:
    found: Round
    questions: Questions
    arms: dict[str, Arm]


def history(folder: Path, policy: Policy = STANDARD) -> tuple[Past, ...]:
    """Return the rounds of an eval's folder: those that cannot be read, then the others by age."""
    before: dict[str, _Read] = {}
    rounds, wrong = sound_rounds(folder)
    made = [_damaged(each, problem) for each, problem in wrong.items()]
    last = ""
    for each in rounds:
        found = each.read()
        past: _Read | None = None
        arms: tuple[PastArm, ...] = ()
        problem = ""
        try:
            past = _read(each, found)
            arms = _arms(past, before.get(found.items_sha256), policy)
        except SelftuneError as error:
            problem = error.message
        made.append(
            Past(
                id=found.id,
                created_at=found.created_at,
                status=found.status,
                source=found.source,
                items=found.items,
                items_sha256=found.items_sha256,
                has_other_items=last not in ("", found.items_sha256),
                arms=arms,
                problem=problem,
            )
        )
        last = found.items_sha256
        if past is not None and found.status == "completed":
            before[found.items_sha256] = past
    return tuple(made)


def _damaged(folder: RoundFolder, problem: str) -> Past:
    return Past(
        id=folder.path.name,
        created_at=int(folder.record.stat().st_mtime),
        status="damaged",
        source="",
        items=0,
        items_sha256="",
        has_other_items=False,
        arms=(),
        problem=problem,
    )


def _read(folder: RoundFolder, found: Round) -> _Read:
    questions = read_questions(folder, found)
    return _Read(found, questions, read_arms(folder, found, questions, None))


def _arms(now: _Read, before: _Read | None, policy: Policy) -> tuple[PastArm, ...]:
    return tuple(_arm(arm, now, before, policy) for arm in now.arms.values())


def _arm(arm: Arm, now: _Read, before: _Read | None, policy: Policy) -> PastArm:
    questions = now.questions
    found = units(arm, questions)
    credited = ~np.isnan(found.credit)
    name = None
    if before is not None:
        name = partner(arm.name, list(now.arms), list(before.arms))
    against, outcome, words = None, None, ""
    if before is not None and name is not None and len(questions):
        base = moved(before.arms[name], before.questions, questions)
        pair = (base, units(base, questions)), [(arm, found)]
        one = compare(questions, *pair, policy)[0]
        against, outcome, words = before.found.id, one.outcome, one.words
    return PastArm(
        name=arm.name,
        model=arm.record.model,
        scored=int(found.scored.sum()),
        expected=max(len(questions) * now.found.samples, len(arm.at)),
        accuracy=share(found, np.ones(len(questions), np.bool_)),
        points=float((questions.weight * found.credit)[credited].sum()),
        most_points=float(questions.weight[credited].sum()),
        against=against,
        outcome=outcome,
        words=words,
    )
