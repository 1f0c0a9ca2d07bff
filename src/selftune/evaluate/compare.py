"""Models on the same questions: whether each differs from the one that all are compared with.

A question that could not be scored on one side is left out on both: it is no wrong answer. The
verdict says so, and what it would be if such answers were counted as wrong.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.columns import Arm, Mask, Questions
from selftune.evaluate.statistics import (
    Interval,
    Odds,
    cohens_h,
    discordant_odds,
    has_spread,
    holm,
    paired_effect,
)
from selftune.evaluate.units import SEED, Units, is_binary
from selftune.evaluate.verdict import (
    STANDARD,
    Evidence,
    Outcome,
    Policy,
    Verdict,
    grouped_share_evidence,
    score_evidence,
    share_evidence,
    verdict,
)


class CategoryDifference(Record):
    """One category's difference."""

    name: str
    difference: Interval
    """Model minus baseline: of the share that passes."""
    p_value: float
    """Of the same test as that of all questions, two-sided."""
    adjusted: float
    """The p-value after Holm's correction for all categories."""


class Comparison(Record):
    """One model against the baseline, on the questions that both answered."""

    baseline: str
    name: str
    difference: Interval | None
    """Model minus baseline: of the share that passes; None when no item was scored on both sides."""
    within: Interval | None
    """The same at 90 %, for margins."""
    p_value: float | None
    """Two-sided; corrected by Holm where several models are compared."""
    test: str
    odds: Odds | None
    """Questions that only the model passes to those that only the baseline does; None where no
    question tells the two apart, or questions come in groups or were asked several times."""
    effect: float | None
    """Cohen's h of the two shares: 0.2 is small, 0.5 medium, 0.8 large."""
    left_out: int
    """Questions that could not be scored on both sides."""
    only_baseline: tuple[int, ...]
    """Numbers of the items that only the baseline passes, by most of its answers."""
    only_this: tuple[int, ...]
    score: Evidence | None
    """Of the mean scores, where they say more than passed or not."""
    score_effect: float | None
    """Mean difference of scores over the deviation of differences."""
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


Measured = tuple[Arm, Units]


def compare(
    questions: Questions,
    baseline: Measured,
    others: Sequence[Measured],
    policy: Policy = STANDARD,
) -> tuple[Comparison, ...]:
    """Return how each of the others differs from the baseline.

    Raises:
        InvalidInput: there is no question.

    """
    if len(questions) == 0:
        raise InvalidInput("There is nothing to compare: the round has no questions.")
    everything = np.ones(len(questions), np.bool_)
    found = [_evidence(baseline[1], other, everything, policy) for _, other in others]
    known = [each for each in found if each is not None]
    adjusted = iter(holm([each.p_value for each in known]))
    corrected = [
        None
        if each is None
        else each.model_copy(update={"p_value": next(adjusted), "comparisons": len(known)})
        for each in found
    ]
    return tuple(
        _comparison(questions, (baseline, other), evidence, policy)
        for other, evidence in zip(others, corrected, strict=True)
    )


def _comparison(
    questions: Questions, pair: tuple[Measured, Measured], found: Evidence | None, policy: Policy
) -> Comparison:
    (base_arm, base), (arm, this) = pair
    both = base.known & this.known
    only_base, only_this = base.wins & ~this.wins & both, this.wins & ~base.wins & both
    score = _score_evidence(base, this, policy)
    categories = tuple(_categories(questions, base, this, policy))
    names = (f"{base_arm.name!r}", f"{arm.name!r}")
    asked = int((base.asked & this.asked).sum())
    left_out = asked - int(both.sum())
    said = _nothing_scored(asked, names) if found is None else verdict(found, policy, names)
    is_error = questions.truth is not None and questions.truth.is_number
    told = (*_left_out(base, this, policy), *_said_of_score(score, is_error))
    told += tuple(_said_of_categories(categories, policy))
    plain = found is not None and found.discordant is not None
    return Comparison(
        baseline=base_arm.name,
        name=arm.name,
        difference=None if found is None else found.difference,
        within=None if found is None else found.within,
        p_value=None if found is None else found.p_value,
        test="" if found is None else found.test,
        odds=_odds(int(only_base.sum()), int(only_this.sum())) if plain else None,
        effect=_effect(base, this),
        left_out=left_out,
        only_baseline=tuple(questions.index[only_base].tolist()),
        only_this=tuple(questions.index[only_this].tolist()),
        score=score,
        score_effect=_score_effect(base, this),
        categories=categories,
        verdict=said.model_copy(update={"reasons": (*said.reasons, *told)}),
    )


def _evidence(base: Units, this: Units, chosen: Mask, policy: Policy) -> Evidence | None:
    """Return what the shares of some questions say; None where none was scored on both sides."""
    both = base.known & this.known & chosen
    if not both.any():
        return None
    first, second = base.passed[both], this.passed[both]
    if base.group is None and is_binary(first) and is_binary(second):
        counts = int((first > second).sum()), int((second > first).sum())
        return share_evidence(*counts, int(both.sum()), alpha=policy.alpha)
    random = np.random.default_rng(SEED)
    groups = base.groups(both)
    return grouped_share_evidence(first, second, random, groups=groups, alpha=policy.alpha)


def _score_evidence(base: Units, this: Units, policy: Policy) -> Evidence | None:
    """Return what graded scores say; None where they are only passed or not, or all the same."""
    both = _measured(base, this)
    first, second = base.value[both], this.value[both]
    if not both.any():
        return None
    if np.allclose(first, base.passed[both]) and np.allclose(second, this.passed[both]):
        return None
    groups = base.groups(both)
    if not has_spread(second - first, groups):
        return None
    random = np.random.default_rng(SEED)
    return score_evidence(first, second, random, groups=groups, alpha=policy.alpha)


def _score_effect(base: Units, this: Units) -> float | None:
    both = _measured(base, this)
    gaps = this.value[both] - base.value[both]
    if len(gaps) < 2 or not has_spread(gaps):
        return None
    return paired_effect(base.value[both], this.value[both])


def _effect(base: Units, this: Units) -> float | None:
    both = base.known & this.known
    if not both.any():
        return None
    return cohens_h(float(base.passed[both].mean()), float(this.passed[both].mean()))


def _odds(only_base: int, only_this: int) -> Odds | None:
    return discordant_odds(only_base, only_this) if only_base + only_this else None


def _measured(base: Units, this: Units) -> Mask:
    return ~np.isnan(base.value) & ~np.isnan(this.value)


def _categories(
    questions: Questions, base: Units, this: Units, policy: Policy
) -> Iterator[CategoryDifference]:
    found = {
        name: evidence
        for place, name in enumerate(questions.categories)
        if (evidence := _evidence(base, this, questions.category == place, policy)) is not None
    }
    adjusted = holm([each.p_value for each in found.values()])
    for (name, evidence), corrected in zip(found.items(), adjusted, strict=True):
        yield CategoryDifference(
            name=name,
            difference=evidence.difference,
            p_value=evidence.p_value,
            adjusted=corrected,
        )


def _left_out(base: Units, this: Units, policy: Policy) -> tuple[str, ...]:
    """Say what was not compared, and whether that hides something."""
    asked = base.asked & this.asked
    n = int(asked.sum())
    missing = n - int((base.known & this.known).sum())
    if missing == 0:
        return ()
    counts = (
        int((base.wins & ~this.wins & asked).sum()),
        int((this.wins & ~base.wins & asked).sum()),
    )
    strict = share_evidence(*counts, n, alpha=policy.alpha)
    outcome = verdict(strict, policy).outcome
    return (
        f"{missing:,} of {n:,} questions are left out: an answer to them could not be "
        f"scored. Counted as wrong, they would make it {100 * strict.difference.value:+.1f} points "
        f"(p = {strict.p_value:.2g}): {outcome}.",
    )


def _said_of_score(score: Evidence | None, is_error: bool) -> tuple[str, ...]:
    if score is None:
        return ()
    found = score.difference
    return (
        f"The mean {'error' if is_error else 'score'} changes by {found.value:+.3g} (95 % interval {found.low:+.3g} to "
        f"{found.high:+.3g}, {score.test} p = {score.p_value:.2g}).",
    )


def _said_of_categories(categories: Sequence[CategoryDifference], policy: Policy) -> Iterator[str]:
    for one in categories:
        if len(categories) > 1 and one.adjusted < policy.alpha:
            yield (
                f"{'Better' if one.difference.value > 0 else 'Worse'} in {one.name!r}: "
                f"{100 * one.difference.value:+.1f} points on {one.difference.n:,} questions "
                f"(p = {one.adjusted:.2g}, corrected for {len(categories)} categories)."
            )


def _nothing_scored(n: int, names: tuple[str, str]) -> Verdict:
    return Verdict(
        outcome="cannot tell",
        words=f"Cannot tell whether {names[1]} is better than {names[0]}: none of {n:,} questions "
        "was answered by both models in a way that could be scored.",
        reasons=(),
        more_questions=None,
        no_worse=None,
    )
