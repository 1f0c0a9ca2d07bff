"""`selftune data distill`: a teacher's answers as training rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.data.asking import (
    MeansOptions,
    TeacherOptions,
    Test,
    rows_of,
    show_note,
    show_outcome,
    show_terms,
    shown_asking,
    system_alone,
)
from selftune.cli.data.reading import Json, ReadingOptions
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.distill import Distillation, Distilled


@dataclass(frozen=True)
class PromptOptions:
    """What is answered."""

    source: Annotated[
        str | None, typer.Argument(help="Prompts: any source. Answers in it are not used.")
    ] = None
    stored: Annotated[
        str | None,
        typer.Option(help="JSONL of stored or logged completions, taken instead of asking."),
    ] = None
    from_store: Annotated[
        bool,
        typer.Option(
            "--from-store", help="Take what the endpoint stored for --teacher (store=true)."
        ),
    ] = False
    drop_system: Annotated[
        bool,
        typer.Option("--drop-system", help="Train without the system message: it is learned."),
    ] = False
    answers: Annotated[
        int, typer.Option(min=1, max=32, help="Ask so many times; take the commonest answer.")
    ] = 1
    agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of the commonest answer.")
    ] = 0.0
    test: Test = None

    def wanted(self, reading: ReadingOptions) -> "Distillation":
        """Return what to answer, with everything read that the options name."""
        from selftune.data.distill import Distillation
        from selftune.data.read import read_rows

        return Distillation(
            rows=rows_of(self.source, reading, with_answers=False),
            test=tuple(read_rows(self.test)) if self.test else (),
            system=system_alone(reading),
            drop_system=self.drop_system,
            answers=self.answers,
            agreement=self.agreement,
        )


@grouped
def distill(
    prompts: PromptOptions,
    teacher: TeacherOptions,
    reading: ReadingOptions,
    means: MeansOptions,
    json: Json = False,
) -> None:
    """Let a teacher answer prompts, or take completions that are stored already.

    Resumable: the same command goes on where a killed one ended, and pays for no answer twice.
    """
    from selftune.core.errors import InvalidInput
    from selftune.data.distill import distill as answer_prompts
    from selftune.data.distill import distill_stored, logged_file
    from selftune.models.stored import stored_completions

    wanted = prompts.wanted(reading)
    given = [prompts.source is not None, prompts.stored is not None, prompts.from_store]
    if sum(given) != 1:
        raise InvalidInput("Give one of: a source of prompts, --stored FILE, --from-store.")
    if prompts.stored is not None:
        outcome = distill_stored(means.out, logged_file(Path(prompts.stored)), wanted)
    elif prompts.from_store:
        endpoint = teacher.asking().endpoint
        outcome = distill_stored(means.out, stored_completions(endpoint), wanted, endpoint)
    else:
        asking = teacher.asking()
        show_terms(asking)
        with shown_asking() as progress:
            outcome = answer_prompts(means.out, asking, wanted, means.means(), progress)
    if prompts.source is None:
        show_note(outcome.note)  # the teachers are known only now
    show_outcome(outcome, _lines(outcome), json=json)


def _lines(outcome: "Distilled") -> list[str]:
    lines = []
    if outcome.agreement is not None:
        lines.append(f"mean share of the commonest answer: {outcome.agreement:.0%}")
    if outcome.disagreed:
        lines.append(f"{outcome.disagreed:,} prompts with too little agreement: disagreed.jsonl")
    if outcome.unanswered:
        lines.append(f"{outcome.unanswered:,} prompts without a usable answer")
    if outcome.left_out:
        lines.append(f"{outcome.left_out:,} prompts are in the test set, or nearly: left out")
    return lines
