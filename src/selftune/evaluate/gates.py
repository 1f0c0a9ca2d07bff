"""What a build may depend on: pure functions, each with three ends, and one exit status for all.

status  meaning
0       every gate passed
1       a gate failed: the share is too low, or a loss was shown
2       the command was misused; nothing was judged
3       nothing can be said: under 95 % of the answers could be scored, or too few questions
"""

import math
from collections.abc import Sequence
from typing import Literal

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Record
from selftune.evaluate.columns import find_arm, moved, read_arms, read_questions
from selftune.evaluate.compare import Comparison, compare
from selftune.evaluate.findings import Report
from selftune.evaluate.pairing import need_enough, partner
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.statistics import Interval, scores_needed
from selftune.evaluate.summary import Summary
from selftune.evaluate.units import units
from selftune.evaluate.verdict import STANDARD, Policy

PASSED, REGRESSED, MISUSED, INCONCLUSIVE = 0, 1, 2, 3
LEAST_COVERAGE = 0.95
_ONE_SIDED = 1.645
"""Standard normal point of 95 %, on one side: half of a 90 % interval is so many standard errors."""


class Gate(Record):
    """One demand, and how it ended."""

    name: str
    arm: str
    outcome: Literal["passed", "failed", "cannot tell"]
    words: str
    more_questions: int | None = None
    """How many more would probably tell; None where it can be told, or no number would."""


def exit_status(gates: Sequence[Gate]) -> int:
    """Return the status for all gates together.

    Without enough answers nothing is judged, so that coverage comes before everything else.
    """
    if any(gate.name == "coverage" and gate.outcome != "passed" for gate in gates):
        return INCONCLUSIVE
    outcomes = {gate.outcome for gate in gates}
    if "failed" in outcomes:
        return REGRESSED
    return INCONCLUSIVE if "cannot tell" in outcomes else PASSED


def gated(report: Report, names: Sequence[str] = ()) -> list[Summary]:
    """Return the models that gates are for: those named; else all but the baseline, or the only one.

    Raises:
        NotFound: the round has no model of such a name.

    """
    found = [arm.summary for arm in report.arms if arm.summary.round == report.round.id]
    known = [one.name for one in found]
    for name in names:
        if name not in known:
            has = ", ".join(map(repr, known))
            raise NotFound(f"There is no model {name!r} to judge: the round has {has}.")
    chosen = [one for one in found if (one.name in names if names else one.name != report.baseline)]
    return chosen or found


def coverage(arm: Summary, least: float = LEAST_COVERAGE) -> Gate:
    """Judge whether enough of the answers could be scored."""
    found = arm.coverage
    words = f"{found.scored:,} of {found.expected:,} answers could be scored ({found.share:.1%})"
    is_enough = found.share >= least
    return Gate(
        name="coverage",
        arm=arm.name,
        outcome="passed" if is_enough else "cannot tell",
        words=words if is_enough else f"{words}; at least {least:.0%} are needed to judge",
    )


def fail_under(arm: Summary, least: float, *, sure: bool = False) -> Gate:
    """Judge the share that passes; `sure`: the whole interval must lie above.

    Raises:
        InvalidInput: `least` is no share.

    """
    if not 0 <= least <= 1:
        raise InvalidInput(f"--fail-under is {least:g}: it must be a share from 0 to 1.")
    name, found = "fail-under", arm.accuracy
    if found is None:
        words = "no answer could be scored"
        return Gate(name=name, arm=arm.name, outcome="cannot tell", words=words)
    words = (
        f"{found.value:.1%} pass (95 % interval {found.low:.1%} to {found.high:.1%}, "
        f"n={found.n:,}); {least:.1%} are demanded"
    )
    if not sure:
        outcome: Literal["passed", "failed"] = "passed" if found.value >= least else "failed"
        return Gate(name=name, arm=arm.name, outcome=outcome, words=words)
    words += ", and surely"
    if found.low >= least:
        return Gate(name=name, arm=arm.name, outcome="passed", words=words)
    is_below = found.high < least
    outcome_sure: Literal["failed", "cannot tell"] = "failed" if is_below else "cannot tell"
    return Gate(name=name, arm=arm.name, outcome=outcome_sure, words=words)


def no_worse(found: Comparison, policy: Policy) -> Gate:
    """Judge whether a loss as large as the margin is ruled out, at 95 % on one side.

    Raises:
        InvalidInput: there is no margin.

    """
    margin = policy.margin
    if margin is None:
        raise InvalidInput("--no-worse-than needs a margin: how large a loss is acceptable.")
    name, points = "no-worse-than", f"{100 * margin:g} points"
    if found.within is None or found.difference is None:
        return Gate(name=name, arm=found.name, outcome="cannot tell", words=found.words)
    gap = found.difference
    words = (
        f"{100 * gap.value:+.1f} points against {found.baseline!r} on {gap.n:,} questions, at "
        f"worst {100 * found.within.low:+.1f}"
    )
    if found.within.low > -margin:
        words += f": a loss of {points} is ruled out"
        return Gate(name=name, arm=found.name, outcome="passed", words=words)
    if found.outcome == "worse":
        words += f" (p = {found.p_value:.2g}): it is worse"
        return Gate(name=name, arm=found.name, outcome="failed", words=words)
    words += f": a loss of {points} is not ruled out, and none is shown"
    more = _more_needed(found, gap, found.within, policy)
    if more is not None:
        words += f"; about {more:,} more questions would tell"
    return Gate(name=name, arm=found.name, outcome="cannot tell", words=words, more_questions=more)


def _more_needed(found: Comparison, gap: Interval, within: Interval, policy: Policy) -> int | None:
    """Return how many more questions would probably tell, if the truth is as it looks.

    Either to rule the loss out, or, where it looks as large as the margin, to show it.
    """
    room = (policy.margin or 0.0) + gap.value
    if room <= 0:
        return found.verdict.more_questions
    deviation = (within.high - within.low) / 2 / _ONE_SIDED * math.sqrt(gap.n)
    # Alpha on one side only.
    needed = scores_needed(room, deviation, alpha=2 * policy.alpha, power=policy.power)
    return max(needed - gap.n, 1)


def judge(
    arms: Sequence[Summary], least: float | None = None, *, sure: bool = False
) -> tuple[Gate, ...]:
    """Return the gates of models by themselves: coverage always, a least share if there is one."""
    found = [coverage(arm) for arm in arms]
    if least is not None:
        found += [fail_under(arm, least, sure=sure) for arm in arms]
    return tuple(found)


def no_worse_than(
    names: Sequence[str], folder: RoundFolder, older: RoundFolder, policy: Policy = STANDARD
) -> tuple[Gate, ...]:
    """Judge models of a round, each against its partner in an older one.

    Raises:
        InvalidInput: the older round asked other questions, or has no partner for a model, or there
            is no margin.

    """
    now, before = folder.read(), older.read()
    questions, others = read_questions(folder, now), read_questions(older, before)
    shared = len(set(questions.ids) & set(others.ids))
    need_enough(shared, len(questions), (now.id, before.id))
    arms = read_arms(folder, now, questions, None)
    past = read_arms(older, before, others, None)
    gates = []
    for asked in names:
        name = partner(asked, list(arms), list(past))
        if name is None:
            known = ", ".join(repr(each) for each in past)
            raise InvalidInput(
                f"The round {before.id!r} has no model {asked!r} to compare with: it has "
                f"{known}. Give models a `name` in the eval file, and keep it."
            )
        base, arm = moved(past[name], others, questions), find_arm(arms, asked, folder)
        pair = (base, units(base, questions)), [(arm, units(arm, questions))]
        found = compare(questions, *pair, policy)[0]
        named = found.model_copy(update={"baseline": f"{name} ({before.id})"})
        gates.append(no_worse(named, policy))
    return tuple(gates)
