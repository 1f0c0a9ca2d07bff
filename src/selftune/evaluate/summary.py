"""One model's figures: how good, how sure, how fast, how dear."""

from collections.abc import Iterator

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.columns import Arm, Mask, Questions
from selftune.evaluate.confusion import Confusion, confusion
from selftune.evaluate.results import STATES
from selftune.evaluate.statistics import (
    Interval,
    NumberErrors,
    Spread,
    bootstrap_mean,
    has_spread,
    number_errors,
    pass_all,
    pass_any,
    spread,
    wilson,
)
from selftune.evaluate.statistics.clusters import Numbers
from selftune.evaluate.units import SEED, Units, share
from selftune.models.costs import Request

_UNIT = (0.0, 1.0)
_MOST_K = 10


class Coverage(Record):
    """What became of the answers that were asked for."""

    expected: int
    scored: int
    errored: int
    """There is an answer, and a grader could not judge it."""
    skipped: int
    unanswered: int
    not_asked: int
    """The round was stopped before."""

    @property
    def answered(self) -> int:
        """Return how many answers there are."""
        return self.scored + self.errored + self.skipped

    @property
    def share(self) -> float:
        """Return the share of what was asked that could be scored."""
        return self.scored / self.expected if self.expected else 0.0


class Seconds(Record):
    """How long answers took; queueing and repeated attempts are not in it."""

    mean: float
    p50: float
    p90: float
    p99: float
    n: int


class Grade(Record):
    """One grader's outcome."""

    name: str
    passed: Interval | None
    """None where it could score nothing."""


class Repeats(Record):
    """Several answers to each question."""

    samples: int
    pass_any: dict[int, float]
    """pass@k: at least one of k answers passes."""
    pass_all: dict[int, float]
    """pass^k: all of k answers pass."""
    spread: Spread | None


class Summary(Record):
    """One model's figures."""

    name: str
    model: str
    place: str | None
    note: str
    round: str
    """Id of the round that asked it."""
    coverage: Coverage
    accuracy: Interval | None
    """Share of questions that pass; None when no answer could be scored."""
    score: Interval | None
    """Mean score of scored items, credit in parts or an error; None when nothing is known of how
    sure it is: nothing was scored, or one item, or all scores are one number without bounds."""
    mean_score: float | None
    """None when no answer could be scored."""
    is_credit: bool
    """The score is from 0 to 1, and what an answer is worth; else it is a measure of its own."""
    numbers: NumberErrors | None
    """Where a number was asked for."""
    no_number: int
    """Answers without a number, where one was asked for."""
    points: float
    """Sum of weight times credit."""
    most_points: float
    """Of the questions that could be scored."""
    categories: dict[str, Interval]
    grades: tuple[Grade, ...]
    confusion: Confusion | None
    tokens: Request | None
    """Of an answer, on average; None where the endpoint says nothing."""
    latency: Seconds | None
    first_token: Seconds | None
    repeats: Repeats | None


def summarize(arm: Arm, questions: Questions, found: Units) -> Summary:
    """Return one model's figures."""
    everything = np.ones(len(questions), np.bool_)
    measured = ~np.isnan(found.value)
    is_credit = bool(np.allclose(found.value[measured], found.credit[measured]))
    credited = ~np.isnan(found.credit)
    errors, no_number = _numbers(arm, questions)
    return Summary(
        name=arm.name,
        model=arm.record.model,
        place=arm.record.place,
        note=arm.record.note,
        round=arm.found.id,
        coverage=_coverage(arm),
        accuracy=share(found, everything),
        score=_score(found, measured, is_credit),
        mean_score=float(found.value[measured].mean()) if measured.any() else None,
        is_credit=is_credit,
        numbers=errors,
        no_number=no_number,
        points=float((questions.weight * found.credit)[credited].sum()),
        most_points=float(questions.weight[credited].sum()),
        categories=dict(_categories(questions, found)),
        grades=tuple(_grades(arm)),
        confusion=confusion(arm, questions),
        tokens=_tokens(arm),
        latency=_seconds(arm.rows.seconds),
        first_token=_seconds(arm.rows.first_token_seconds),
        repeats=_repeats(found, arm.found.samples),
    )


def _coverage(arm: Arm) -> Coverage:
    counts = dict(
        zip(STATES, np.bincount(arm.rows.state, minlength=len(STATES)).tolist(), strict=True)
    )
    expected = max(int(arm.asked.sum()) * arm.found.samples, len(arm.at))
    return Coverage(expected=expected, not_asked=expected - len(arm.at), **counts)


def _score(found: Units, measured: Mask, is_credit: bool) -> Interval | None:
    values, groups = found.value[measured], found.groups(measured)
    # A score that is its own credit is from 0 to 1; an error in dollars has no upper bound.
    if not len(values) or not (is_credit or has_spread(values, groups)):
        return None
    random = np.random.default_rng(SEED)
    return bootstrap_mean(values, random, groups=groups, bounds=_UNIT if is_credit else None)


def _numbers(arm: Arm, questions: Questions) -> tuple[NumberErrors | None, int]:
    """Return how far guesses are from the truth, and how many answers have no number."""
    truth = questions.truth
    if truth is None or not truth.is_number or arm.given is None:
        return None, 0
    scored = arm.rows.is_scored
    right, guess = truth.values[arm.at], arm.given
    told = scored & ~np.isnan(guess) & ~np.isnan(right)
    missing = int((scored & np.isnan(guess)).sum())
    if not told.any():
        return None, missing
    groups = questions.group[arm.at[told]] if questions.group is not None else None
    if groups is None and arm.found.samples > 1:
        groups = arm.at[told]
    random = np.random.default_rng(SEED)
    return number_errors(guess[told], right[told], random, groups), missing


def _categories(questions: Questions, found: Units) -> Iterator[tuple[str, Interval]]:
    for place, name in enumerate(questions.categories):
        passed = share(found, questions.category == place)
        if passed is not None:
            yield name, passed


def _grades(arm: Arm) -> Iterator[Grade]:
    """Return each grader's share, where there are several; answers count one by one."""
    if len(arm.grades) < 2:
        return
    for number, (grader, grades) in enumerate(zip(arm.found.graders, arm.grades, strict=True), 1):
        known = grades[grades >= 0]
        kind = str(grader.get("type", "grader"))
        name = str(grader.get("name") or kind)
        yield Grade(
            name=f"{number}. {name}",
            passed=wilson(int(known.sum()), len(known)) if len(known) else None,
        )


def _tokens(arm: Arm) -> Request | None:
    known = arm.rows.completion_tokens >= 0
    if not known.any():
        return None
    rows = arm.rows
    return Request(
        prompt_tokens=float(rows.prompt_tokens[known].mean()),
        completion_tokens=float(rows.completion_tokens[known].mean()),
        cached_tokens=float(np.maximum(rows.cached_tokens[known], 0).mean()),
    )


def _seconds(column: Numbers) -> Seconds | None:
    known = column[~np.isnan(column)]
    if not len(known):
        return None
    p50, p90, p99 = np.percentile(known, (50, 90, 99))
    return Seconds(
        mean=float(known.mean()), p50=float(p50), p90=float(p90), p99=float(p99), n=len(known)
    )


def _repeats(found: Units, samples: int) -> Repeats | None:
    if samples < 2 or not found.known.any():
        return None
    passes, scored = found.passes[found.known], found.scored[found.known]
    most = min(int(scored.max()), _MOST_K)
    try:
        apart = spread(passes, scored)
    except InvalidInput:  # one question, or no question with two answers: nothing to tell apart
        apart = None
    return Repeats(
        samples=samples,
        pass_any={k: pass_any(passes, scored, k) for k in range(1, most + 1)},
        pass_all={k: pass_all(passes, scored, k) for k in range(1, most + 1)},
        spread=apart,
    )
