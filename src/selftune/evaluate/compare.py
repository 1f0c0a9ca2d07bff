"""Two models on the same items: how good each is, and whether the difference is one."""

from collections.abc import Sequence

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.items import Item
from selftune.evaluate.run import Answered, EvalRun, by_category
from selftune.evaluate.statistics import (
    Interval,
    bootstrap_mean,
    has_spread,
    holm,
    mcnemar,
    paired_shares,
    wilson,
)
from selftune.evaluate.statistics.interval import need_some
from selftune.evaluate.verdict import (
    STANDARD,
    Evidence,
    Outcome,
    Policy,
    Verdict,
    score_evidence,
    share_evidence,
    verdict,
)

_SEED = 20260101
_UNIT = (0.0, 1.0)

Pair = tuple[Answered, Answered]


class Summary(Record):
    """One model's figures."""

    model: str
    accuracy: Interval | None
    """Share of scored items that pass; None when no answer could be scored."""
    score: Interval | None
    """Mean score of scored items, credit in parts or an error; None when nothing is known of how
    sure it is: nothing was scored, or one item, or all scores are one number without bounds."""
    mean_score: float | None
    """None when no answer could be scored."""
    points: float
    """Sum of weight times credit."""
    most_points: float
    errored: int
    mean_tokens: float
    """Completion tokens of an answer."""
    median_seconds: float
    p90_seconds: float
    categories: dict[str, Interval]


class CategoryDifference(Record):
    """One category's difference."""

    name: str
    difference: Interval
    """Tuned minus base: of the share that passes."""
    p_value: float
    """Exact McNemar, two-sided."""
    adjusted: float
    """The p-value after Holm's correction for all categories."""


class Comparison(Record):
    """Base against tuned, on the items that both answered in a way that could be scored."""

    base: Summary
    tuned: Summary
    difference: Interval | None
    """Tuned minus base: of the share that passes; None when no item was scored on both sides."""
    p_value: float | None
    """Exact McNemar, two-sided."""
    left_out: int
    """Items that could not be scored on both sides."""
    only_base: tuple[int, ...]
    only_tuned: tuple[int, ...]
    score: Evidence | None
    """Of the mean scores, where they say more than passed or not."""
    categories: tuple[CategoryDifference, ...]
    verdict: Verdict

    @property
    def outcome(self) -> Outcome:
        """Return the verdict in one word."""
        return self.verdict.outcome

    @property
    def words(self) -> str:
        """Return the verdict in a sentence."""
        return self.verdict.words


def summarize(items: tuple[Item, ...], run: EvalRun) -> Summary:
    """Return one model's figures."""
    scored = [answer for answer in run.answers if answer.status == "scored"]
    measured = [answer for answer in scored if answer.value is not None]
    seconds = [answer.seconds for answer in run.answers]
    weights = {item.index: item.weight for item in items}
    values = [answer.value for answer in measured if answer.value is not None]
    return Summary(
        model=run.model,
        accuracy=_share(scored),
        score=_mean(measured, values),
        mean_score=float(np.mean(values)) if values else None,
        points=sum(weights[a.index] * a.credit for a in scored),
        most_points=sum(weights.values()),
        errored=len(run.answers) - len(scored),
        mean_tokens=float(np.mean([a.completion_tokens for a in run.answers])),
        median_seconds=float(np.median(seconds)),
        p90_seconds=float(np.percentile(seconds, 90)),
        categories={
            name: share
            for name, group in by_category(items, run).items()
            if (share := _share([a for a in group if a.status == "scored"])) is not None
        },
    )


def compare(
    items: tuple[Item, ...], base: EvalRun, tuned: EvalRun, policy: Policy = STANDARD
) -> Comparison:
    """Return how two models differ on the same items.

    An item that could not be scored on one side is left out on both: it is not a wrong answer. The
    verdict says so, and what it would be if such answers were counted as wrong.

    Raises:
        InvalidInput: there is no item, or the two runs did not answer the same ones.

    """
    both = _paired(base, tuned)
    pairs = [pair for pair in both if all(answer.status == "scored" for answer in pair)]
    only_base, only_tuned = _flipped(pairs)
    found = None
    if pairs:
        found = share_evidence(len(only_base), len(only_tuned), len(pairs), alpha=policy.alpha)
    score = _score_evidence(pairs, policy)
    categories = _categories(items, both)
    said = _nothing_scored(len(both)) if found is None else verdict(found, policy)
    told = (*_left_out(both, len(pairs), policy), *_said_of_score(score))
    told += _said_of_categories(categories, policy)
    return Comparison(
        base=summarize(items, base),
        tuned=summarize(items, tuned),
        difference=None if found is None else found.difference,
        p_value=None if found is None else found.p_value,
        left_out=len(both) - len(pairs),
        only_base=only_base,
        only_tuned=only_tuned,
        score=score,
        categories=categories,
        verdict=said.model_copy(update={"reasons": (*said.reasons, *told)}),
    )


def _paired(base: EvalRun, tuned: EvalRun) -> list[Pair]:
    """Return the two answers to each item."""
    need_some(len(base.answers))
    if [a.index for a in base.answers] != [b.index for b in tuned.answers]:
        raise InvalidInput(
            f"{base.model!r} and {tuned.model!r} did not answer the same questions: ask both the "
            "same ones, in the same order."
        )
    return list(zip(base.answers, tuned.answers, strict=True))


def _flipped(pairs: Sequence[Pair]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the items that only the first passes, and those that only the second does."""
    only_first = tuple(a.index for a, b in pairs if a.passed and not b.passed)
    only_second = tuple(b.index for a, b in pairs if b.passed and not a.passed)
    return only_first, only_second


def _score_evidence(pairs: Sequence[Pair], policy: Policy) -> Evidence | None:
    """Return what graded scores say; None where they are only passed or not, or all the same."""
    pairs = [pair for pair in pairs if all(answer.value is not None for answer in pair)]
    first = [a.value for a, _ in pairs if a.value is not None]
    second = [b.value for _, b in pairs if b.value is not None]
    if all(answer.value == float(answer.passed) for pair in pairs for answer in pair):
        return None
    if not has_spread([b - a for a, b in zip(first, second, strict=True)]):
        return None
    return score_evidence(first, second, np.random.default_rng(_SEED), alpha=policy.alpha)


def _categories(items: Sequence[Item], both: Sequence[Pair]) -> tuple[CategoryDifference, ...]:
    groups: dict[str, list[Pair]] = {}
    for item, pair in zip(items, both, strict=True):
        if item.category is not None and all(answer.status == "scored" for answer in pair):
            groups.setdefault(item.category, []).append(pair)
    flipped = [_flipped(pairs) for pairs in groups.values()]
    counts = [(len(only_base), len(only_tuned)) for only_base, only_tuned in flipped]
    p_values = [mcnemar(*count) for count in counts]
    return tuple(
        CategoryDifference(
            name=name,
            difference=paired_shares(*count, n=len(groups[name])),
            p_value=p_value,
            adjusted=adjusted,
        )
        for name, count, p_value, adjusted in zip(
            groups, counts, p_values, holm(p_values), strict=True
        )
    )


def _left_out(both: Sequence[Pair], scored: int, policy: Policy) -> tuple[str, ...]:
    """Say what was not compared, and whether that hides something."""
    missing = len(both) - scored
    if missing == 0:
        return ()
    only_base, only_tuned = _flipped(both)
    strict = share_evidence(len(only_base), len(only_tuned), len(both), alpha=policy.alpha)
    outcome = verdict(strict, policy).outcome
    return (
        f"{missing:,} of {len(both):,} questions are left out: an answer to them could not be "
        f"scored. Counted as wrong, they would make it {100 * strict.difference.value:+.1f} points "
        f"(p = {strict.p_value:.2g}): {outcome}.",
    )


def _said_of_score(score: Evidence | None) -> tuple[str, ...]:
    if score is None:
        return ()
    found = score.difference
    return (
        f"The mean score changes by {found.value:+.3g} (95 % interval {found.low:+.3g} to "
        f"{found.high:+.3g}, {score.test} p = {score.p_value:.2g}).",
    )


def _said_of_categories(
    categories: Sequence[CategoryDifference], policy: Policy
) -> tuple[str, ...]:
    return tuple(
        f"{'Better' if one.difference.value > 0 else 'Worse'} in {one.name!r}: "
        f"{100 * one.difference.value:+.1f} points on {one.difference.n:,} questions "
        f"(p = {one.adjusted:.2g}, corrected for {len(categories)} categories)."
        for one in categories
        if one.adjusted < policy.alpha
    )


def _nothing_scored(n: int) -> Verdict:
    return Verdict(
        outcome="cannot tell",
        words=f"Cannot tell: none of {n:,} questions was answered by both models in a way that "
        "could be scored.",
        reasons=(),
        more_questions=None,
        no_worse=None,
    )


def _mean(scored: Sequence[Answered], values: Sequence[float]) -> Interval | None:
    # A score that is its own credit is from 0 to 1; an error in dollars has no upper bound.
    is_credit = all(answer.value == answer.credit for answer in scored)
    if not values or not (is_credit or has_spread(values)):
        return None
    random = np.random.default_rng(_SEED)
    return bootstrap_mean(values, random, bounds=_UNIT if is_credit else None)


def _share(answers: Sequence[Answered]) -> Interval | None:
    if not answers:
        return None
    return wilson(sum(answer.passed for answer in answers), len(answers))
