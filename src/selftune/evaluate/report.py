"""One round, or several side by side: read, compared, and shown as a page, Markdown, JSON, a table."""

from collections.abc import Sequence
from dataclasses import replace

from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.columns import Arm, Questions, find_arm, moved, read_arms, read_questions
from selftune.evaluate.compare import Measured, compare
from selftune.evaluate.curves import guesses, histograms, running_error
from selftune.evaluate.figures import figures
from selftune.evaluate.findings import ArmFindings, Report
from selftune.evaluate.markdown import to_markdown
from selftune.evaluate.money import Money, money, with_break_even
from selftune.evaluate.page import to_html
from selftune.evaluate.rounds import Round, RoundFolder
from selftune.evaluate.shown import flipped, why_not_scored, worst
from selftune.evaluate.summary import Summary, summarize
from selftune.evaluate.units import units
from selftune.evaluate.verdict import STANDARD, Policy

__all__ = ["Report", "figures", "read_report", "to_html", "to_json", "to_markdown"]

_LATE = 0.1


def read_report(
    folder: RoundFolder,
    *,
    baseline: str | None = None,
    others: Sequence[tuple[str, RoundFolder]] = (),
    policy: Policy = STANDARD,
    requests_per_day: float | None = None,
) -> Report:
    """Read a round, and arms of others on the questions that both have; compare all with one.

    The baseline is the arm of this name, or the first one.

    Raises:
        NotFound: a file or an arm is not there.
        InvalidInput: a file is damaged; there are no questions, or an other round has none of them.

    """
    found = folder.read()
    questions = read_questions(folder, found)
    if not len(questions):
        raise InvalidInput(f"The round {found.id!r} has no questions.")
    arms = [
        *read_arms(folder, found, questions, questions.truth).values(),
        *_others(questions, others, folder),
    ]
    arms = _baseline_first(arms, baseline, found)
    measured: list[Measured] = [(arm, units(arm, questions)) for arm in arms]
    comparisons = compare(questions, measured[0], measured[1:], policy)
    summaries = [summarize(arm, questions, unit) for arm, unit in measured]
    return Report(
        name=found.eval,
        round=found,
        questions=len(questions),
        arms=_arms(questions, measured, summaries, requests_per_day),
        comparisons=comparisons,
        flipped=tuple(
            flipped(one, (arms[0], arm), questions)
            for one, arm in zip(comparisons, arms[1:], strict=True)
        ),
        requests_per_day=requests_per_day,
        notes=(*_notes(found), *_notes_of_arms(arms, summaries, questions, found)),
    )


def to_json(report: Report) -> str:
    """Return everything, for programs."""
    return report.model_dump_json(indent=1)


def _others(
    questions: Questions, others: Sequence[tuple[str, RoundFolder]], folder: RoundFolder
) -> list[Arm]:
    """Return arms of other rounds, on the questions of this one."""
    made: list[Arm] = []
    known: dict[RoundFolder, tuple[Round, Questions, dict[str, Arm]]] = {}
    for name, other in others:
        if other not in known:
            found = other.read()
            own = read_questions(other, found)
            known[other] = found, own, read_arms(other, found, own, questions.truth)
        found, own, arms = known[other]
        arm = moved(find_arm(arms, name, other), own, questions)
        if not arm.asked.any():
            raise InvalidInput(
                f"The rounds {found.id!r} and {folder.path.name!r} have no question in common: "
                "compare rounds of the same eval."
            )
        made.append(replace(arm, name=f"{name} ({found.id})"))
    return made


def _baseline_first(arms: list[Arm], name: str | None, found: Round) -> list[Arm]:
    if not arms:
        raise InvalidInput(f"The round {found.id!r} asked no model.")
    if name is None:
        return arms
    chosen = [arm for arm in arms if name in (arm.name, arm.record.name)]
    if not chosen:
        known = ", ".join(repr(arm.name) for arm in arms)
        raise NotFound(f"There is no model {name!r} to compare with: there is {known}.")
    return [chosen[0], *(arm for arm in arms if arm is not chosen[0])]


def _arms(
    questions: Questions,
    measured: Sequence[Measured],
    summaries: Sequence[Summary],
    requests_per_day: float | None,
) -> tuple[ArmFindings, ...]:
    base = measured[0][0]
    costs = _costs(measured, summaries, requests_per_day)
    made = []
    for (arm, unit), summary, cost, latency in zip(
        measured, summaries, costs, histograms([arm for arm, _ in measured]), strict=True
    ):
        is_shown = arm is not base or len(measured) == 1
        beside = [base] if arm is not base else []
        made.append(
            ArmFindings(
                summary=summary,
                money=cost,
                latency=latency,
                guesses=guesses(arm, questions),
                running_error=running_error(arm, questions),
                worst=worst(arm, unit, beside, questions) if is_shown else (),
            )
        )
    return tuple(made)


def _costs(
    measured: Sequence[Measured], summaries: Sequence[Summary], requests_per_day: float | None
) -> list[Money]:
    costs = [
        money(arm.record, summary.tokens, requests_per_day, arm.found.facts)
        for (arm, _), summary in zip(measured, summaries, strict=True)
    ]
    return [costs[0], *(with_break_even(one, costs[0], requests_per_day) for one in costs[1:])]


def _notes(found: Round) -> list[str]:
    told = []
    if found.status != "completed":
        why = f": {found.reason}" if found.reason else ""
        told.append(
            f"The round is not whole, it is {found.status}{why}. Figures are of what there is."
        )
    if found.totals.reused:
        told.append(
            f"Answers that were there already, from earlier starts or rounds: "
            f"{found.totals.reused:,}. Nobody was asked for them again; their latency is of then."
        )
    if found.totals.lag > _LATE:
        told.append(
            f"This machine was {found.totals.lag:.0%} of a median latency late in reading answers: "
            "latencies are too long by about as much. Ask fewer questions at a time."
        )
    return told


def _notes_of_arms(
    arms: Sequence[Arm], summaries: Sequence[Summary], questions: Questions, found: Round
) -> list[str]:
    told = []
    for arm, summary in zip(arms, summaries, strict=True):
        shared, coverage = int(arm.asked.sum()), summary.coverage
        if shared < len(questions):
            told.append(
                f"{arm.name!r} was asked {shared:,} of these {len(questions):,} questions; the "
                "others are left out where it is compared."
            )
        if coverage.scored < coverage.expected:
            why = why_not_scored(arm)
            told.append(
                f"{arm.name!r}: {coverage.answered:,} of {coverage.expected:,} answered, "
                f"{coverage.scored:,} scored. What could not be scored is not counted as wrong."
                + (f" The first one: {why}" if why else "")
            )
        if arm.found.graders != found.graders:
            told.append(f"{arm.name!r} was judged by other graders: only its speed compares.")
    return told
