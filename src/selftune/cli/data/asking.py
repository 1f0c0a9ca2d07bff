"""Options, progress and results of the commands that ask a teacher."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from selftune.cli.console import FAILED, STOPPED, err, out, show_json
from selftune.cli.data.reading import ReadingOptions

if TYPE_CHECKING:
    from selftune.data.rows import Row
    from selftune.data.synthesis.outputs import Outcome
    from selftune.data.synthesis.run import Asking, Means, Progress

Seed = Annotated[int, typer.Option(help="Same seed and same answers, same bytes.")]
Test = Annotated[
    str | None, typer.Option(help="Test set: nothing of it gets into prompts or results.")
]


@dataclass(frozen=True)
class TeacherOptions:
    """Which model is asked, and how."""

    teacher: Annotated[str | None, typer.Option(help="The model that is asked.")] = None
    base_url: Annotated[
        str | None,
        typer.Option(help="Where it answers, e.g. http://127.0.0.1:8000/v1; else OpenAI."),
    ] = None
    api_key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds its API key.")
    ] = "OPENAI_API_KEY"
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of one answer.")] = 4096
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="Absent, the endpoint's own.")
    ] = None
    json_mode: Annotated[
        str, typer.Option(help="How JSON is asked for: schema, or object where it is not known.")
    ] = "schema"

    def asking(self) -> "Asking":
        """Return how the teacher is asked.

        Raises:
            InvalidInput: there is none, or an option is wrong.

        """
        from selftune.core.errors import InvalidInput

        if self.teacher is None:
            raise InvalidInput("Name the model that is asked: --teacher MODEL.")
        return self.asking_of(self.teacher, self.base_url, self.api_key_variable)

    def asking_of(self, model: str, base_url: str | None, api_key_variable: str) -> "Asking":
        """Return how another model is asked, in all else alike."""
        from selftune.core.errors import InvalidInput
        from selftune.data.synthesis.run import Asking
        from selftune.models.endpoint import Endpoint

        if self.json_mode not in ("schema", "object"):
            raise InvalidInput(f"--json-mode is {self.json_mode!r}: it is schema or object.")
        endpoint = Endpoint(model=model, base_url=base_url, api_key_variable=api_key_variable)
        return Asking(
            endpoint=endpoint,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            json_mode="object" if self.json_mode == "object" else "schema",
        )


@dataclass(frozen=True)
class MeansOptions:
    """Where a run leaves its result, and what it may use for it."""

    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the result. The same command again goes on with what is in it."
        ),
    ]
    budget_dollars: Annotated[
        float | None, typer.Option(help="Stop before more is spent. Needs a known price.")
    ] = None
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="Stop before more tokens are used, in and out.")
    ] = None
    input_price: Annotated[
        float | None, typer.Option(min=0, help="Dollars for 1,000,000 tokens of prompts.")
    ] = None
    output_price: Annotated[
        float | None, typer.Option(min=0, help="Dollars for 1,000,000 tokens of answers.")
    ] = None
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="Most requests on their way at a time.")
    ] = 8
    attempts: Annotated[
        int, typer.Option(min=1, max=100, help="Most attempts for one request.")
    ] = 8
    timeout_seconds: Annotated[
        float, typer.Option(min=0.001, help="Longest wait for one answer.")
    ] = 300.0
    batch: Annotated[
        bool, typer.Option("--batch", help="Use the Batch API: cheaper, within a day.")
    ] = False
    poll_seconds: Annotated[
        float, typer.Option(min=0, help="Pause between two looks at a batch.")
    ] = 30.0

    def means(self) -> "Means":
        """Return what the run may use."""
        from selftune.core.errors import InvalidInput
        from selftune.data.synthesis.budget import Budget
        from selftune.data.synthesis.run import Means
        from selftune.models.asking import Limits

        if self.budget_dollars is not None and self.budget_dollars <= 0:
            raise InvalidInput(f"--budget-dollars is {self.budget_dollars}: it must be above 0.")
        return Means(
            limits=Limits(
                concurrency=self.concurrency,
                attempts=self.attempts,
                timeout_seconds=self.timeout_seconds,
            ),
            budget=Budget(
                dollars=self.budget_dollars,
                tokens=self.budget_tokens,
                input_price=self.input_price,
                output_price=self.output_price,
            ),
            is_batch=self.batch,
            poll_seconds=self.poll_seconds,
        )


def rows_of(
    source: str | None, reading: ReadingOptions, *, with_answers: bool = True
) -> "tuple[Row, ...]":
    """Return the rows of a source, none where there is no source.

    `--system` is a part of a template with `--user`, and a message as it stands without.
    """
    from selftune.data.read import read_rows

    if source is None:
        return ()
    if reading.user is None and reading.assistant is None:
        reading = replace(reading, system=None)
    if not with_answers and reading.assistant is None and reading.user is not None:
        reading = replace(reading, assistant="")
    return tuple(read_rows(source, reading.options()))


def system_alone(reading: ReadingOptions) -> str | None:
    """Return the system message that is no part of a template."""
    return reading.system if reading.user is None else None


@contextmanager
def shown_asking() -> "Iterator[Progress]":
    """Show one bar for each thing that is counted, on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=not err.is_terminal,
    )
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(escape(what))
        bars.update(tasks[what], completed=done, total=total)

    try:
        with bars:
            yield show
    except KeyboardInterrupt:
        err.print("stopped: the same command goes on from here")
        raise typer.Exit(STOPPED) from None


def show_terms(asking: "Asking") -> None:
    """Say, once and before anything is asked, what to read about the teacher's terms."""
    from selftune.data.synthesis.terms import terms_note

    show_note(terms_note(asking.endpoint))


def show_note(note: str | None) -> None:
    """Show a note, if there is one."""
    if note is not None:
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def show_outcome(outcome: "Outcome", lines: list[str], *, json: bool) -> None:
    """Print what came out; leave with 1 where the run stopped short."""
    if json:
        show_json(outcome.model_dump(mode="json"))
    else:
        for line in (
            f"{outcome.rows:,} rows in {outcome.folder}/train.jsonl",
            *lines,
            *_spending(outcome),
        ):
            out.print(escape(line), soft_wrap=True)
    if outcome.stopped is not None:
        err.print(f"[bold yellow]stopped:[/] {escape(outcome.stopped)}", soft_wrap=True)
        raise typer.Exit(FAILED)


def counted(words: str, counts: dict[str, int]) -> list[str]:
    """Return a line that names counts, or none where there are none."""
    if not counts:
        return []
    named = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    return [f"{words}: {named}"]


def _spending(outcome: "Outcome") -> list[str]:
    spent = outcome.spent
    used = f"{spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out"
    money = "price unknown" if spent.dollars is None else f"${spent.dollars:.4f}"
    lines = [
        *counted("answers without a use", outcome.unusable),
        f"{outcome.requests:,} requests ({outcome.fresh_requests:,} now), {used}, {money}",
    ]
    if spent.perhaps_tokens:
        most = "" if spent.perhaps_dollars is None else f", ${spent.perhaps_dollars:.4f}"
        lines.append(
            f"attempts that were never answered may have used up to {spent.perhaps_tokens:,} "
            f"tokens more{most}"
        )
    return lines
