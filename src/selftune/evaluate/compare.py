"""Two models on the same items: how good each is, and whether the difference is one."""

from typing import Literal

import numpy as np

from selftune.core.records import Record
from selftune.evaluate.run import Answered, EvalRun, Item, by_category
from selftune.evaluate.statistics import (
    Interval,
    bootstrap_mean,
    mcnemar,
    paired_difference,
    questions_needed,
    wilson,
)

ALPHA = 0.05
_SEED = 20260101

Outcome = Literal["better", "worse", "cannot tell"]


class Summary(Record):
    """One model's figures."""

    model: str
    accuracy: Interval | None
    """Share of scored items that pass; None when no answer could be scored."""
    score: Interval | None
    """Mean score of scored items: credit in parts, or an error."""
    points: float
    """Sum of weight times credit."""
    most_points: float
    errored: int
    mean_tokens: float
    """Completion tokens of an answer."""
    median_seconds: float
    p90_seconds: float
    categories: dict[str, Interval]


class Comparison(Record):
    """Base against tuned."""

    base: Summary
    tuned: Summary
    difference: Interval
    """Tuned minus base: of the share that passes, on the same items."""
    p_value: float
    """Exact McNemar, two-sided."""
    only_base: tuple[int, ...]
    only_tuned: tuple[int, ...]
    outcome: Outcome
    words: str


def summarize(items: tuple[Item, ...], run: EvalRun) -> Summary:
    """Return one model's figures."""
    scored = [answer for answer in run.answers if answer.value is not None]
    seconds = [answer.seconds for answer in run.answers]
    random = np.random.default_rng(_SEED)
    weights = {item.index: item.weight for item in items}
    values = [answer.value for answer in scored if answer.value is not None]
    return Summary(
        model=run.model,
        accuracy=_share(scored),
        score=bootstrap_mean(values, random) if values else None,
        points=sum(weights[a.index] * a.credit for a in scored),
        most_points=sum(weights.values()),
        errored=len(run.answers) - len(scored),
        mean_tokens=float(np.mean([a.completion_tokens for a in run.answers])),
        median_seconds=float(np.median(seconds)),
        p90_seconds=float(np.percentile(seconds, 90)),
        categories={
            name: share
            for name, group in by_category(items, run).items()
            if (share := _share([a for a in group if a.value is not None])) is not None
        },
    )


def compare(items: tuple[Item, ...], base: EvalRun, tuned: EvalRun) -> Comparison:
    """Return how two models differ on the same items. An unscored answer counts as not passed."""
    pairs = list(zip(base.answers, tuned.answers, strict=True))
    only_base = tuple(a.index for a, b in pairs if a.passed and not b.passed)
    only_tuned = tuple(b.index for a, b in pairs if b.passed and not a.passed)
    p_value = mcnemar(len(only_base), len(only_tuned))
    difference = paired_difference(
        [float(a.passed) for a, _ in pairs],
        [float(b.passed) for _, b in pairs],
        np.random.default_rng(_SEED),
    )
    outcome: Outcome = "cannot tell"
    if p_value < ALPHA:
        outcome = "better" if difference.value > 0 else "worse"
    return Comparison(
        base=summarize(items, base),
        tuned=summarize(items, tuned),
        difference=difference,
        p_value=p_value,
        only_base=only_base,
        only_tuned=only_tuned,
        outcome=outcome,
        words=_words(outcome, difference, p_value, len(only_base) + len(only_tuned)),
    )


def _words(outcome: Outcome, difference: Interval, p_value: float, differing: int) -> str:
    points = 100 * difference.value
    facts = (
        f"{points:+.1f} points on {difference.n} questions "
        f"(95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}, "
        f"exact McNemar p = {p_value:.2g})"
    )
    if outcome == "cannot tell":
        share = differing / difference.n
        need = questions_needed(difference.value or 0.05, discordant=share or 0.1)
        return (
            f"Cannot tell: {facts}. To show a difference of this size, ask about {need} questions."
        )
    return f"The tuned model is {outcome} than the base: {facts}."


def _share(answers: list[Answered]) -> Interval | None:
    if not answers:
        return None
    return wilson(sum(answer.passed for answer in answers), len(answers))
