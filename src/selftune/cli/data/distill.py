"""`selftune data distill`: a teacher's answers as training rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.data.asking import (
    MeansOptions,
    Out,
    TeacherOptions,
    Test,
    show_note,
    show_outcome,
    shown_progress,
)
from selftune.cli.data.grouping import grouped
from selftune.cli.data.reading import Json, System, User

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
    system: System = None
    user: User = None
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

    def wanted(self) -> "Distillation":
        """Return what to answer, with everything read that the options name."""
        from selftune.cli.data.reading import options_of
        from selftune.core.runfile import Template
        from selftune.data.distill import Distillation
        from selftune.data.read import read_rows

        template = Template(system=self.system, user=self.user, assistant="") if self.user else None
        return Distillation(
            rows=tuple(read_rows(self.source, options_of(template))) if self.source else (),
            test=tuple(read_rows(self.test)) if self.test else (),
            system=None if self.user else self.system,
            drop_system=self.drop_system,
            answers=self.answers,
            agreement=self.agreement,
        )


@grouped
def distill(
    prompts: PromptOptions,
    teacher: TeacherOptions,
    means: MeansOptions,
    out: Out,
    json: Json = False,
) -> None:
    """Let a teacher answer prompts, or take completions that are stored already.

    Resumable: the same command goes on where a killed one ended, and pays for no answer twice.
    """
    from selftune.core.errors import InvalidInput
    from selftune.data.distill import distill as answer_prompts
    from selftune.data.distill import distill_stored, logged_file
    from selftune.models.stored import stored_completions

    wanted = prompts.wanted()
    given = [prompts.source is not None, prompts.stored is not None, prompts.from_store]
    if sum(given) != 1:
        raise InvalidInput("Give one of: a source of prompts, --stored FILE, --from-store.")
    if prompts.stored is not None:
        outcome = distill_stored(out, logged_file(Path(prompts.stored)), wanted)
    elif prompts.from_store:
        endpoint = teacher.asking().endpoint
        outcome = distill_stored(out, stored_completions(endpoint), wanted, endpoint)
    else:
        asking = teacher.asking()
        show_note(asking)
        with shown_progress() as progress:
            outcome = answer_prompts(out, asking, wanted, means.means(), progress)
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
