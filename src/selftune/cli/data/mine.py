"""`selftune data mine`: keep what a student gets wrong."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import show_table
from selftune.cli.data.asking import (
    MeansOptions,
    TeacherOptions,
    Test,
    rows_of,
    show_outcome,
    show_terms,
    shown_asking,
    system_alone,
)
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.mine import Mined, Mining

_SHOWN = 10


@dataclass(frozen=True)
class StudentOptions:
    """Who is tried, and on what."""

    student: Annotated[str, typer.Option(help="The model that is tried.")]
    student_url: Annotated[
        str | None, typer.Option(help="Where the student answers; else --base-url.")
    ] = None
    student_key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the student's API key.")
    ] = "OPENAI_API_KEY"
    label_field: Annotated[
        str | None, typer.Option(help="Field of the right answer, for rows that are not chats.")
    ] = None
    test: Test = None

    def wanted(self, source: str, reading: ReadingOptions) -> "Mining":
        """Return what to try the student on."""
        from selftune.data.mine import Mining
        from selftune.data.read import read_rows

        return Mining(
            rows=rows_of(source, reading, with_answers=self.label_field is None),
            test=tuple(read_rows(self.test)) if self.test else (),
            system=system_alone(reading),
            label_field=self.label_field,
        )


@grouped
def mine(
    source: Source,
    student: StudentOptions,
    teacher: TeacherOptions,
    reading: ReadingOptions,
    means: MeansOptions,
    json: Json = False,
) -> None:
    """Keep the rows that a student gets wrong; with a teacher, those whose labels it agrees with.

    Hard rows are in train.jsonl, rows whose labels look wrong in suspicious.jsonl.
    """
    from selftune.data.mine import Models
    from selftune.data.mine import mine as keep_hard_rows

    asked = teacher.asking() if teacher.teacher else None
    tried = teacher.asking_of(
        student.student, student.student_url or teacher.base_url, student.student_key_variable
    )
    wanted = student.wanted(source, reading)
    if asked is not None:
        show_terms(asked)
    with shown_asking() as progress:
        outcome = keep_hard_rows(means.out, Models(tried, asked), wanted, means.means(), progress)
    if not json:
        _show_tables(outcome)
    show_outcome(outcome, _lines(outcome), json=json)


def _show_tables(outcome: "Mined") -> None:
    worst = [
        (label, each.rows, each.wrong) for label, each in outcome.per_label.items() if each.wrong
    ]
    if worst:
        show_table(("label", "rows", "wrong"), worst[:_SHOWN])
        show_table(
            ("right answer", "student's answer", "times"),
            [(one.expected, one.answered, one.times) for one in outcome.confusions[:_SHOWN]],
        )


def _lines(outcome: "Mined") -> list[str]:
    lines = [f"{outcome.wrong:,} of {outcome.tried:,} rows were answered wrong"]
    if outcome.teacher_agrees is not None:
        lines.append(
            f"the teacher agrees with {outcome.teacher_agrees:.0%} of the {outcome.checked:,} labels "
            f"that it checked; the other {outcome.suspicious:,} rows are in suspicious.jsonl"
        )
    if outcome.unchecked:
        lines.append(f"{outcome.unchecked:,} wrong rows could not be checked and were not kept")
    if outcome.left_out:
        lines.append(f"{outcome.left_out:,} rows are in the test set, or nearly, and were left out")
    return lines
