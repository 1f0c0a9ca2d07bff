"""Ask the contenders what the recorded model was asked, judge all alike, and conclude."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from selftune.core.errors import InvalidInput, MissingExtra, SelftuneError
from selftune.core.records import Record
from selftune.core.settings import Settings
from selftune.evaluate.columns import Questions, find_arm, read_arms, read_questions
from selftune.evaluate.compare import Comparison, compare
from selftune.evaluate.report import Report, read_report
from selftune.evaluate.results import read_results
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.task import Progress
from selftune.evaluate.units import Units, units
from selftune.evaluate.verdict import Policy
from selftune.prove.home import Home
from selftune.prove.round import run_round
from selftune.rescue.proof.alike import (
    MOST_NEAR,
    Alike,
    Embed,
    Noise,
    Said,
    alike,
    judged_share,
    noise_of,
    said_by,
)
from selftune.rescue.proof.conclude import Conclusion, Evidence, Prompted, conclude
from selftune.rescue.proof.copies import without_copies
from selftune.rescue.proof.home import ProofHome
from selftune.rescue.proof.judged import judge
from selftune.rescue.proof.plan import REPLACEMENT, Choices, Compared, compared
from selftune.rescue.record.recordings import ARM, find_recording


class Proof(Record):
    """Everything that a proof found."""

    model: str
    replacement: str
    temperature: float
    measure: str
    """What counts as passing."""
    margin: float
    conclusion: Conclusion
    noise: Noise
    alike: tuple[Alike, ...]
    notes: tuple[str, ...]
    report: Report


class Proven(NamedTuple):
    """A proof, and where it is kept."""

    proof: Proof
    folder: RoundFolder


def prove(
    settings: Settings,
    model: str,
    choices: Choices,
    policy: Policy,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Proven:
    """Compare a replacement with a recorded model; the same again goes on where it was ended.

    Raises:
        NotFound: there is no recording, or no replacement.
        InvalidInput: a grader is none, or the margin is missing.
        SelftuneError: a contender does not answer any more; what was answered is kept.

    """
    if policy.margin is None:
        raise InvalidInput("A proof needs a margin: how large a loss is acceptable.")
    recording = find_recording(settings.root, model)
    home = ProofHome(settings, recording.usual.read().arms[0])
    chosen = compared(home, recording, choices)
    folder = run_round(home, chosen.plan, tell)
    per_day = choices.requests_per_day
    report = read_report(folder, baseline=ARM, policy=policy, requests_per_day=per_day)
    items = tuple(chosen.plan.items)
    said = _without_recorded(said_by(read_results(folder.results)), chosen)
    embed, why_not = _embed(home)
    found = alike(items, said, [arm.name for arm in chosen.plan.arms], embed)
    notes = (*chosen.notes, *why_not)
    if embed is not None and len(items) > MOST_NEAR:
        notes += (f"Nearness in meaning is that of {MOST_NEAR:,} prompts, drawn by lot.",)
    if choices.judge is not None:
        graded = judge(home, model, choices.judge, items, said, choices.limits)
        found = tuple(
            each.model_copy(update={"judged": judged_share(graded.get(each.arm, ()))})
            for each in found
        )
    own = [folder, *_asked_before(home, chosen)]
    evidence = _evidence(own, report, chosen, found, policy)
    conclusion = conclude(evidence, policy)
    proof = Proof(
        model=model,
        replacement=choices.replacement,
        temperature=float(chosen.plan.facts["temperature"]),
        measure=chosen.measure.words,
        margin=policy.margin,
        conclusion=conclusion,
        noise=evidence.noise,
        alike=found,
        notes=notes,
        report=report,
    )
    return Proven(proof, folder)


def _without_recorded(said: Mapping[str, Mapping[str, list[str]]], chosen: Compared) -> Said:
    """Return answers without those of the recorded model that others are compared with."""
    own = {
        item: texts[1:] if item in chosen.alone else texts
        for item, texts in said.get(ARM, {}).items()
    }
    return {**said, ARM: own}


def _embed(home: Home) -> tuple[Embed | None, tuple[str, ...]]:
    """Return what makes vectors, or why nothing does."""
    try:
        home.embed(["hello"])
    except (SelftuneError, MissingExtra) as error:
        return None, (f"How near answers are in meaning is not measured: {error.message}",)
    return home.embed, ()


def _asked_before(home: Home, chosen: Compared) -> tuple[RoundFolder, ...]:
    """Return a round that judges what was recorded at temperature 0, where production is at 0 too.

    Answers to one prompt that are asked in one go may be one answer: providers compute and cache
    them together. Those of the other round were asked at another time.
    """
    if chosen.steady is None:
        return ()
    plan = replace(
        chosen.plan,
        arms=(chosen.steady,),
        evaluation=chosen.plan.evaluation.model_copy(update={"samples": 1}),
    )
    return (run_round(home, plan),)


def _own_run(folder: RoundFolder) -> Units:
    """Return how the recorded model did in a round."""
    round_ = folder.read()
    questions = read_questions(folder, round_)
    arms = read_arms(folder, round_, questions, questions.truth)
    return units(find_arm(arms, ARM, folder), questions)


def _evidence(
    folders: Sequence[RoundFolder],
    report: Report,
    chosen: Compared,
    found: Sequence[Alike],
    policy: Policy,
) -> Evidence:
    folder = folders[0]
    summaries = {arm.summary.name: arm.summary for arm in report.arms}
    round_ = folder.read()
    questions = read_questions(folder, round_)
    arms = read_arms(folder, round_, questions, questions.truth)

    # Any of the prompted models would do: the risk that one is lucky is shared among them all.
    strict = policy.model_copy(update={"alpha": policy.alpha / max(len(chosen.prompted), 1)})

    def versus(
        base: str, other: str, policy: Policy, questions: Questions = questions
    ) -> Comparison:
        pair = [find_arm(arms, name, folder) for name in (base, other)]
        measured = [(arm, units(arm, questions)) for arm in pair]
        return compare(questions, measured[0], measured[1:], policy)[0]

    # All rounds have the same questions.
    this_run = units(find_arm(arms, ARM, folder), questions)
    own_runs = [this_run, *(_own_run(each) for each in folders[1:])]
    grouped, copies = without_copies(tuple(chosen.plan.items), questions)
    own = next((each.same.value for each in found if each.arm == ARM), None)
    return Evidence(
        recorded=summaries[ARM],
        replacement=summaries[REPLACEMENT],
        copies=copies,
        once=versus(ARM, REPLACEMENT, policy, grouped) if copies else None,
        comparison=next(one for one in report.comparisons if one.name == REPLACEMENT),
        prompted=tuple(
            Prompted(summaries[name], versus(ARM, name, strict), versus(name, REPLACEMENT, policy))
            for name in chosen.prompted
        ),
        noise=noise_of(own_runs, round_.samples, own),
        alike=found,
        is_circular=chosen.measure.is_recorded and chosen.alone.issuperset(questions.ids),
    )
