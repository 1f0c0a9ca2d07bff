"""Keep the rows that a student gets wrong: they teach it the most, if their labels are right.

A label that the teacher does not agree with is suspicious, and such rows are kept apart: a row may
be hard because it is wrong.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row, prompt_text
from selftune.data.synthesis.chats import (
    Messages,
    answered,
    asked_messages,
    expected_answer,
    said,
    tools_of,
)
from selftune.data.synthesis.labels import same_label
from selftune.data.synthesis.novelty import Novelty
from selftune.data.synthesis.outputs import Made, Outcome, write_made, write_report
from selftune.data.synthesis.run import Asking, Means, Progress, Run, body_of, plan_of
from selftune.models.answers import Answer, question

SUSPICIOUS = "suspicious.jsonl"
Student = Callable[[Sequence[Messages]], Sequence[str]]
"""A model in this process: chats in, answers out, in order."""
Judge = Callable[[str, str], bool]
"""Whether an answer (first) is as good as the right one (second)."""
_CONFUSIONS = 20


class Mining(Record):
    """What to try the student on."""

    rows: tuple[Row, ...]
    test: tuple[Row, ...] = ()
    """Rows that may not get into the result."""
    system: str | None = None
    """System message for rows that have none."""
    label_field: str | None = None
    """Field that holds the right answer, for rows that are not chats."""


class Tried(Record):
    """How the student did on one label."""

    rows: int
    wrong: int


class Confusion(Record):
    """How often the student gave one answer instead of another."""

    expected: str
    answered: str
    times: int


class Mined(Outcome):
    """What came out. `rows` counts the hard rows whose label the teacher agrees with."""

    tried: int
    """Rows that the student answered."""
    wrong: int
    suspicious: int
    """Wrong rows whose label the teacher does not give either: look at them."""
    checked: int
    """Wrong rows that the teacher answered."""
    unchecked: int
    """Wrong rows that it did not, where there is a teacher; they are not kept."""
    teacher_agrees: float | None
    """Share of the checked rows where it gives the row's label; None where none was checked."""
    left_out: int
    """Rows that are in the test set, or nearly."""
    per_label: dict[str, Tried]
    confusions: tuple[Confusion, ...]
    """The commonest, most frequent first."""


class Models(NamedTuple):
    """Who is asked."""

    student: Asking | Student
    teacher: Asking | None = None
    """Without one every hard row is kept, and no label is checked."""


@dataclass(eq=False)
class _Case:
    """One row, with what student and teacher said to it."""

    number: int
    messages: Messages
    tools: dict[str, Any]
    expected: str
    student: Answer | None = None
    teacher: Answer | None = None

    @property
    def was_tried(self) -> bool:
        return self.student is not None and self.student.status == "answered"

    @property
    def was_checked(self) -> bool:
        return self.teacher is not None and self.teacher.status == "answered"


def mine(
    out: Path,
    models: Models,
    wanted: Mining,
    means: Means | None = None,
    progress: Progress = lambda what, done, total: None,
    judge: Judge = same_label,
) -> Mined:
    """Write hard rows to `train.jsonl`, suspicious ones to `suspicious.jsonl`; return the report.

    Raises:
        SelftuneError: it can never work: a wrong key, model or request, or rows without answers.

    """
    cases = _cases(wanted)
    with Run(out, _plan(models, wanted), means or Means(), progress) as run:
        _try_student(run, models.student, cases)
        wrong = [
            case
            for case in cases
            if case.student and case.was_tried and not judge(case.student.text, case.expected)
        ]
        if models.teacher is not None:
            _ask(run, models.teacher, wrong, "teacher")
        hard: list[_Case] = []
        suspicious: list[_Case] = []
        for case in wrong:
            if models.teacher is None:
                hard.append(case)
            elif case.teacher and case.was_checked:
                agrees = judge(case.teacher.text, case.expected)
                (hard if agrees else suspicious).append(case)
        write_made(out, [_made(case, models) for case in hard])
        write_made(out, [_made(case, models) for case in suspicious], SUSPICIOUS)
        figures = _Figures(cases, wrong, hard, suspicious)
        outcome = _outcome(run, models, figures, len(wanted.rows) - len(cases))
        write_report(out, outcome)
        return outcome


class _Figures(NamedTuple):
    """The cases, by what became of them."""

    cases: list[_Case]
    wrong: list[_Case]
    hard: list[_Case]
    suspicious: list[_Case]


def _plan(models: Models, wanted: Mining) -> dict[str, Any]:
    student = models.student
    name = plan_of("", student) if isinstance(student, Asking) else "a model in this process"
    return plan_of("mine", models.teacher, student=name, **wanted.model_dump(mode="json"))


def _cases(wanted: Mining) -> list[_Case]:
    """Return the rows that are not in the test set, with their right answers."""
    held = Novelty(prompt_text(row) for row in wanted.test).holds(
        [prompt_text(row) for row in wanted.rows]
    )
    cases = []
    for number, (row, is_held) in enumerate(zip(wanted.rows, held, strict=True), start=1):
        expected = expected_answer(row, wanted.label_field)
        messages = asked_messages(row, wanted.system)
        if not expected or not messages:
            raise InvalidInput(
                f"Row {number} has no {'question' if expected else 'right answer'}: give chats that "
                "end with the assistant, or name the field of the answer (--label-field)."
            )
        if not is_held:
            cases.append(_Case(number, messages, tools_of(row), expected))
    return cases


def _try_student(run: Run, student: Asking | Student, cases: list[_Case]) -> None:
    if isinstance(student, Asking):
        for case, answer in _asked(run, student, cases, "student"):
            case.student = answer
        return
    texts = student([case.messages for case in cases])
    for case, text in zip(cases, texts, strict=True):
        case.student = Answer(key="", status="answered", text=text)


def _ask(run: Run, teacher: Asking, cases: list[_Case], what: str) -> None:
    for case, answer in _asked(run, teacher, cases, what):
        case.teacher = answer


def _asked(
    run: Run, asking: Asking, cases: list[_Case], what: str
) -> Iterator[tuple[_Case, Answer | None]]:
    questions = [question(body_of(asking, case.messages) | case.tools) for case in cases]
    answers = run.ask(asking.endpoint, questions, what)
    for case, asked in zip(cases, questions, strict=True):
        yield case, answers.get(asked.key)


def _made(case: _Case, models: Models) -> Made:
    student = models.student
    origin: dict[str, Any] = {
        "verb": "mine",
        "student": student.endpoint.model if isinstance(student, Asking) else "",
        "student_request": case.student.key if case.student else "",
        "student_answer": case.student.text if case.student else "",
        "label": case.expected,
        "parents": [{"row": case.number}],
    }
    if case.teacher is not None and models.teacher is not None:
        origin |= {
            "teacher": models.teacher.endpoint.model,
            "answered_by": case.teacher.model,
            "request": case.teacher.key,
            "teacher_answer": case.teacher.text,
        }
    return Made(answered(case.messages, said(case.expected), case.tools), origin)


def _outcome(run: Run, models: Models, figures: _Figures, left_out: int) -> Mined:
    cases, wrong, hard, suspicious = figures
    tried = [case for case in cases if case.was_tried]
    checked = sum(case.was_checked for case in wrong)
    answers = [answer for case in cases for answer in (case.student, case.teacher) if answer]
    return Mined(
        rows=len(hard),
        folder=str(run.folder),
        requests=sum(bool(answer.key) for answer in answers),
        fresh_requests=run.fresh,
        unusable=dict(Counter(a.status for a in answers if a.status != "answered")),
        spent=run.spent(),
        stopped=run.stopped,
        tried=len(tried),
        wrong=len(wrong),
        suspicious=len(suspicious),
        checked=checked,
        teacher_agrees=(checked - len(suspicious)) / checked if checked else None,
        unchecked=len(wrong) - checked if models.teacher is not None else 0,
        left_out=left_out,
        per_label=_per_label(tried, wrong),
        confusions=_confusions(wrong),
    )


def _per_label(tried: list[_Case], wrong: list[_Case]) -> dict[str, Tried]:
    rows = Counter(case.expected for case in tried)
    failed = Counter(case.expected for case in wrong)
    worst_first = sorted(rows, key=lambda label: (-failed[label] / rows[label], label))
    return {label: Tried(rows=rows[label], wrong=failed[label]) for label in worst_first}


def _confusions(wrong: list[_Case]) -> tuple[Confusion, ...]:
    pairs = Counter((case.expected, case.student.text.strip()) for case in wrong if case.student)
    return tuple(
        Confusion(expected=expected, answered=answered_with, times=times)
        for (expected, answered_with), times in pairs.most_common(_CONFUSIONS)
    )
