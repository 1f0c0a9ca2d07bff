"""What a comparison says, in words: better, worse, equivalent within a margin, or cannot tell."""

import math
from typing import Literal

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.statistics.bootstrap import bootstrap_mean, has_spread
from selftune.evaluate.statistics.clusters import Groups, Values, cluster_sums, standard_error
from selftune.evaluate.statistics.interval import Interval
from selftune.evaluate.statistics.paired import differences, mcnemar, paired_shares, sign_flip
from selftune.evaluate.statistics.power import (
    ALPHA,
    POWER,
    equivalence_questions_needed,
    questions_needed,
    scores_needed,
)

Outcome = Literal["better", "worse", "equivalent", "cannot tell"]


class Policy(Record):
    """What counts as a difference, decided before anybody looks."""

    margin: float | None = 0.02
    """Differences below it do not matter: of shares, 0.02 is 2 points. None: all matter."""
    alpha: float = ALPHA
    """Risk of seeing a difference where there is none."""
    power: float = POWER
    """How likely a difference should be seen, where more questions are asked for."""


class Evidence(Record):
    """What was found on the same items; the second model less the first, so more is better."""

    difference: Interval
    """At 1 - alpha: 95 %."""
    within: Interval
    """At 1 - 2 alpha: 90 %. Both ends inside a margin are two one-sided tests at alpha."""
    p_value: float
    """Corrected, where several models are compared with the same one."""
    comparisons: int = 1
    """How many the p-value is corrected for."""
    test: str
    deviation: float
    """Of the differences, item by item; of shares with one item more that differs."""
    is_share: bool = False
    """Shares that pass are compared, and differences are points; else mean scores."""
    discordant: float | None = None
    """Share of items on which the two differ; None where items are not simply right or wrong."""


class Verdict(Record):
    """What to conclude, and why."""

    outcome: Outcome
    words: str
    """One or two sentences."""
    reasons: tuple[str, ...]
    more_questions: int | None
    """How many more would probably tell, if the truth is as it looks; None when it can be told, or
    when no number would."""
    no_worse: bool | None
    """Whether a loss as large as the margin is ruled out; None without a margin."""


STANDARD = Policy()


def share_evidence(only_first: int, only_second: int, n: int, *, alpha: float = ALPHA) -> Evidence:
    """Return what the counts of items that only one model passes say, out of n.

    Raises:
        InvalidInput: there is no item.

    """
    difference = paired_shares(only_first, only_second, n, confidence=1 - alpha)
    # One more item that differs, of two more asked: what never occurred so far may occur.
    discordant = (only_first + only_second + 1) / (n + 2)
    return Evidence(
        difference=difference,
        within=paired_shares(only_first, only_second, n, confidence=1 - 2 * alpha),
        p_value=mcnemar(only_first, only_second),
        test="exact McNemar",
        deviation=math.sqrt(max(discordant - difference.value**2, 0.25 / n)),
        is_share=True,
        discordant=discordant,
    )


def grouped_share_evidence(
    first: Values,
    second: Values,
    random: np.random.Generator,
    *,
    groups: Groups | None = None,
    alpha: float = ALPHA,
) -> Evidence:
    """Return what shares that pass say, of items that come in groups or were asked several times.

    Raises:
        InvalidInput: the items are not the same, or there is none.

    """
    gaps = differences(first, second)
    clusters = len(cluster_sums(gaps, groups)[0])
    if has_spread(gaps, groups):
        found = score_evidence(first, second, random, groups=groups, alpha=alpha)
        return found.model_copy(update={"is_share": True})
    # All groups alike: each says as much as one item that differs, or does not.
    gap = float(gaps.mean())
    only = math.floor(abs(gap) * clusters + 1e-9)
    found = share_evidence(*((only, 0) if gap < 0 else (0, only)), clusters, alpha=alpha)
    difference = found.difference.model_copy(update={"value": gap, "n": len(gaps)})
    return found.model_copy(
        update={
            "difference": difference,
            "deviation": found.deviation * math.sqrt(len(gaps) / clusters),
            "discordant": None,
        }
    )


def score_evidence(
    first: Values,
    second: Values,
    random: np.random.Generator,
    *,
    groups: Groups | None = None,
    alpha: float = ALPHA,
) -> Evidence:
    """Return what two models' scores on the same items say; more must be better.

    Raises:
        InvalidInput: the items are not the same; there are none; or no two differences differ, so
            that nothing is known of how sure they are.

    """
    gaps = differences(first, second)
    return Evidence(
        difference=bootstrap_mean(gaps, random, groups=groups, confidence=1 - alpha),
        within=bootstrap_mean(gaps, random, groups=groups, confidence=1 - 2 * alpha),
        p_value=sign_flip(first, second, random, groups=groups),
        test="sign-flip permutation",
        deviation=standard_error(gaps, groups) * math.sqrt(len(gaps)),
    )


def verdict(
    evidence: Evidence,
    policy: Policy = STANDARD,
    names: tuple[str, str] = ("the base", "the tuned model"),
) -> Verdict:
    """Return what the evidence says of the second model against the first.

    A difference is one when its test is below alpha. Without one, the two are equivalent only when
    a difference as large as the margin is ruled out; else nobody can tell yet.

    Raises:
        InvalidInput: the margin is not above 0.

    """
    margin = policy.margin
    if margin is not None and not 0 < margin < math.inf:
        raise InvalidInput(f"The margin is {margin!r}: it must be above 0, or absent.")
    outcome, n = _outcome(evidence, policy), evidence.difference.n
    facts = _facts(evidence)
    needed = _needed(evidence, policy) if outcome == "cannot tell" else None
    more = None if needed is None else max(needed[0] - n, 1)
    said = {
        "better": f"{_capital(names[1])} is better than {names[0]}: {facts}.",
        "worse": f"{_capital(names[1])} is worse than {names[0]}: {facts}.",
        "equivalent": f"{_capital(names[1])} and {names[0]} are equivalent within "
        f"{amount(margin or 0, evidence)}: {facts}.",
        "cannot tell": f"Cannot tell whether {names[1]} is better than {names[0]}: {facts}. "
        f"{_remedy(more, n, needed[1] if needed else '')}",
    }
    return Verdict(
        outcome=outcome,
        words=said[outcome],
        reasons=_reasons(evidence, policy),
        more_questions=more,
        no_worse=None if margin is None else evidence.within.low > -margin,
    )


def amount(value: float, evidence: Evidence) -> str:
    """Return a difference as text without a sign: in points for shares."""
    size = abs(value)
    return f"{100 * size:.3g} points" if evidence.is_share else f"{size:.3g}"


def _outcome(evidence: Evidence, policy: Policy) -> Outcome:
    if evidence.p_value < policy.alpha and evidence.difference.value != 0:
        return "better" if evidence.difference.value > 0 else "worse"
    inside = policy.margin is not None and _is_inside(evidence.within, policy.margin)
    return "equivalent" if inside else "cannot tell"


def _is_inside(interval: Interval, margin: float) -> bool:
    return -margin < interval.low and interval.high < margin


def _needed(evidence: Evidence, policy: Policy) -> tuple[int, str] | None:
    """Return how many questions in all would tell, and what; None where no number would."""
    gap, found = evidence.difference.value, []
    if gap != 0:
        # What n questions do not show has at most an even chance with n; 80 % takes twice as many.
        least = 2 * evidence.difference.n
        found.append((max(_to_show(evidence, policy), least), "to show a difference of this size"))
    if policy.margin is not None:
        same = equivalence_questions_needed(
            policy.margin,
            evidence.deviation,
            difference=gap,
            alpha=policy.alpha,
            power=policy.power,
        )
        what = f"to show that a difference is smaller than {amount(policy.margin, evidence)}"
        found += [] if same is None else [(same, what)]
    return min(found, default=None)


def _to_show(evidence: Evidence, policy: Policy) -> int:
    gap, chances = evidence.difference.value, {"alpha": policy.alpha, "power": policy.power}
    if evidence.discordant is None:
        return scores_needed(gap, evidence.deviation, **chances)
    return questions_needed(gap, discordant=evidence.discordant, **chances)


def _remedy(more: int | None, n: int, what: str) -> str:
    if more is None:
        return (
            "There is no difference to look for; set a margin, to show that two models are alike."
        )
    verb = "is" if more == 1 else "are"
    return f"About {more:,} more {verb} needed {what}, {n + more:,} in all."


def _facts(evidence: Evidence) -> str:
    found, level = evidence.difference, 100 * evidence.difference.confidence
    if evidence.is_share:
        size = f"{100 * found.value:+.1f} points on {found.n:,} questions"
        bounds = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
    else:
        size = f"{found.value:+.3g} on {found.n:,} questions"
        bounds = f"{found.low:+.3g} to {found.high:+.3g}"
    chance = f"{evidence.test} p = {evidence.p_value:.2g}"
    if evidence.comparisons > 1:
        chance += f", corrected for {evidence.comparisons} comparisons"
    return f"{size} ({level:g} % interval {bounds}, {chance})"


def _reasons(evidence: Evidence, policy: Policy) -> tuple[str, ...]:
    is_shown = evidence.p_value < policy.alpha
    chance = f"p is {'below' if is_shown else 'not below'} {policy.alpha:g}"
    told = [
        f"{chance}: a difference like this, or a larger one, would"
        f"{' hardly' if is_shown else ' often enough'} occur by chance between equal models."
    ]
    bounds = evidence.difference
    if not is_shown and not bounds.low <= 0 <= bounds.high:
        told.append("The interval leaves out 0; for so few differences only the test is exact.")
    if policy.margin is None:
        return tuple(told)
    margin = amount(policy.margin, evidence)
    if _is_inside(evidence.within, policy.margin):
        told.append(f"Whatever the difference is, it is smaller than the margin of {margin}.")
    elif not -policy.margin < evidence.difference.value < policy.margin and is_shown:
        told.append(_size(evidence, policy.margin, margin))
    elif evidence.within.low > -policy.margin:
        told.append(f"A loss of {margin} or more is ruled out; a gain of as much is not.")
    elif evidence.within.high < policy.margin:
        told.append(f"A gain of {margin} or more is ruled out; a loss of as much is not.")
    else:
        told.append(f"Neither a gain nor a loss of {margin} is ruled out.")
    return tuple(told)


def _size(evidence: Evidence, margin: float, text: str) -> str:
    """Say whether a difference that was shown is certainly as large as one that matters."""
    what = "gain" if evidence.difference.value > 0 else "loss"
    nearest = min(abs(evidence.within.low), abs(evidence.within.high))
    ruled_out = "" if nearest > margin else " not"
    return f"A {what} of less than {text}, the margin, is{ruled_out} ruled out."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
