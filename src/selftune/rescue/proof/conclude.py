"""What follows from a proof: switch, prompt instead, keep, or ask more. Pure functions of records."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from selftune.core.records import Record
from selftune.evaluate.compare import Comparison
from selftune.evaluate.gates import (
    INCONCLUSIVE,
    PASSED,
    REGRESSED,
    Gate,
    coverage,
    exit_status,
    no_worse,
)
from selftune.evaluate.summary import Summary
from selftune.evaluate.verdict import Policy
from selftune.rescue.proof.alike import Alike, Noise

Outcome = Literal["switch", "do not tune", "keep", "more prompts", "cannot tell"]
LEAST_PASSED = 0.05
"""Where the recorded model itself passes less, the graders do not measure what it is for."""


class Conclusion(Record):
    """What to do, and why."""

    outcome: Outcome
    words: str
    reasons: tuple[str, ...]
    more_prompts: int | None = None
    """How many more would probably tell; None where it can be told, or no number would."""
    gates: tuple[Gate, ...]
    status: int
    """As gates have it: 0 the replacement is no worse, 1 it is worse, 3 nothing can be said."""


class Prompted(NamedTuple):
    """A model that is only prompted."""

    summary: Summary
    against_recorded: Comparison
    """More sure than of the replacement, where several are prompted: one of them may be lucky."""
    replacement_against_it: Comparison | None


class Evidence(NamedTuple):
    """What was found."""

    recorded: Summary
    replacement: Summary
    comparison: Comparison
    """The replacement against the recorded model."""
    prompted: Sequence[Prompted]
    noise: Noise
    alike: Sequence[Alike]
    copies: int = 0
    """Prompts that are near copies of others."""
    once: Comparison | None = None
    """The same, were those that are copies of each other one prompt; None where there are none."""
    is_circular: bool = False
    """Whether the recorded model's answers were judged by themselves."""


def conclude(found: Evidence, policy: Policy) -> Conclusion:
    """Return what follows; the margin must be set."""
    margin = policy.margin
    assert margin is not None
    covered = (coverage(found.recorded), coverage(found.replacement))
    gate = no_worse(found.comparison, policy)
    gates = (*covered, gate)
    reasons = [
        *_of_gate(gate),
        *_of_copies(found, gate, policy),
        *_of_noise(found, margin),
        *_of_alike(found),
    ]
    why_not = _why_not(found, covered)
    if why_not is not None:
        words = f"Nothing can be said: {why_not}"
        return _made("cannot tell", words, reasons, gates, INCONCLUSIVE)
    prompted = _good_enough(found, policy, margin)
    status = exit_status(gates)
    if prompted is not None:
        words = (
            f"Do not tune: prompting is as good. {_capital(prompted.summary.name)} "
            f"({prompted.summary.model}) loses less than {_points(margin)} on the recorded model, "
            "and the replacement is not shown to be better by as much."
        )
        reasons += [prompted.against_recorded.words, *_versus(prompted)]
        return _made("do not tune", words, reasons, gates, status)
    reasons += [line for each in found.prompted for line in _why_tuned(each, policy)]
    if status == PASSED:
        words = (
            f"Switch: the replacement is not worse than the recorded model; a loss of "
            f"{_points(margin)} is ruled out."
        )
        return _made("switch", words, reasons, gates, status)
    if status == REGRESSED:
        words = "Keep the old model, or improve the replacement: it is worse. " + _loss(found)
        return _made("keep", words, reasons, gates, status)
    more = gate.more_questions
    words = f"Not enough prompts to say whether the replacement is worse by {_points(margin)}."
    if more is not None:
        words += f" About {more:,} more prompts would probably tell."
    made = _made("more prompts", words, reasons, gates, status)
    return made.model_copy(update={"more_prompts": more})


def _why_not(found: Evidence, covered: Sequence[Gate]) -> str | None:
    """Return why nothing can be said, where that is so."""
    lacking = next((each for each in covered if each.outcome != "passed"), None)
    if lacking is not None:
        return f"of {lacking.arm!r}, {lacking.words}."
    accuracy = found.recorded.accuracy
    if accuracy is not None and accuracy.value < LEAST_PASSED:
        return (
            f"the recorded model passes only {accuracy.value:.1%} itself, so these graders do not "
            "measure what it is for. Give others with --graders."
        )
    if found.is_circular:
        return (
            "of the recorded model there is one answer to each prompt, and judged by itself it "
            "always passes. Give what judges both, with --graders."
        )
    return None


def _made(
    outcome: Outcome, words: str, reasons: Sequence[str], gates: tuple[Gate, ...], status: int
) -> Conclusion:
    return Conclusion(
        outcome=outcome, words=words, reasons=tuple(reasons), gates=gates, status=status
    )


def _good_enough(found: Evidence, policy: Policy, margin: float) -> Prompted | None:
    """Return a prompted model that is no worse, where tuning is not shown to add the margin."""
    for each in found.prompted:
        is_covered = coverage(each.summary).outcome == "passed"
        if not is_covered or no_worse(each.against_recorded, policy).outcome != "passed":
            continue
        gain = each.replacement_against_it
        adds = (
            gain is not None
            and gain.difference is not None
            and gain.outcome == "better"
            and gain.difference.value >= margin
        )
        if not adds:
            return each
    return None


def _of_gate(gate: Gate) -> list[str]:
    return [f"The replacement: {gate.words}."]


def _of_copies(found: Evidence, gate: Gate, policy: Policy) -> list[str]:
    """Say where prompts that are nearly the same would change the answer."""
    once = None if found.once is None else no_worse(found.once, policy)
    if once is None or once.outcome == gate.outcome:
        return []
    return [
        f"But {found.copies:,} prompts share four words of five with another. If such prompts fare "
        f"alike, they count as one: {once.words}."
    ]


def _of_noise(found: Evidence, margin: float) -> list[str]:
    noise, gap = found.noise, found.comparison.difference
    if noise.moves is None:
        return [
            "The recorded model's own noise is not known: there is one answer to each prompt "
            "(`--repeats` of `selftune rescue record` asks for more)."
        ]
    told = [
        f"Its own noise: asked all again, the recorded model's share that passes moves by up "
        f"to {100 * noise.moves:.1f} points (95 %)."
    ]
    if gap is not None:
        inside = abs(gap.value) <= noise.moves
        told[0] += (
            f" The difference of {100 * gap.value:+.1f} points is "
            f"{'no larger than that' if inside else 'larger than that'}."
        )
    if noise.moves > margin:
        told.append(
            f"The margin of {_points(margin)} is finer than this noise: one run more or less of the "
            "old model would move as much. More prompts make it smaller."
        )
    return told


def _of_alike(found: Evidence) -> list[str]:
    own = next((each for each in found.alike if each.arm == found.recorded.name), None)
    other = next((each for each in found.alike if each.arm == found.replacement.name), None)
    if other is None:
        return []
    if own is None:
        return [
            f"The replacement says what was recorded in {other.same.value:.1%} of its answers; how "
            "often the recorded model repeats itself is not known."
        ]
    words = (
        f"The replacement says what was recorded in {other.same.value:.1%} of its answers; the "
        f"recorded model, asked again, in {own.same.value:.1%}."
    )
    if other.behind is not None:
        gap = other.behind
        words += f" That is {100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})."
    return [words]


def _loss(found: Evidence) -> str:
    gap = found.comparison.difference
    if gap is None:
        return ""
    return f"It loses {100 * abs(gap.value):.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})."


def _versus(one: Prompted) -> list[str]:
    return [] if one.replacement_against_it is None else [one.replacement_against_it.words]


def _why_tuned(one: Prompted, policy: Policy) -> list[str]:
    """Say why a prompted model does not make tuning needless."""
    gate = no_worse(one.against_recorded, policy)
    if gate.outcome == "passed":
        return [f"Prompting alone would hold the margin too ({one.summary.name}); tuning adds to it:"
                f" {line}" for line in _versus(one)]  # fmt: skip
    return [f"{_capital(one.summary.name)}: {gate.words}."]


def _points(margin: float) -> str:
    return f"{100 * margin:g} points"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
