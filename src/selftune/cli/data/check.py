"""`selftune data check`: every problem, with its line and its remedy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import FAILED, out, show_json
from selftune.cli.data.progress import shown_bytes
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.check import Checked, CheckOptions
    from selftune.data.problems import Problem, Severity

_SEVERITIES: tuple[tuple["Severity", str, str], ...] = (
    ("error", "red", "error"),
    ("warning", "yellow", "warning"),
    ("advice", "cyan", "piece of advice"),
)


@dataclass(frozen=True)
class CheckingOptions:
    """What to check for."""

    method: Annotated[
        str | None,
        typer.Option(
            help="How rows will be used: supervised, dpo, reinforcement or evaluation; else by shape."
        ),
    ] = None
    model: Annotated[
        str | None, typer.Option(help="Whose tokens are counted and whose limit is kept.")
    ] = None
    structure_only: Annotated[
        bool, typer.Option("--structure-only", help="Do not look into the texts.")
    ] = False
    near: Annotated[
        bool | None,
        typer.Option(help="Look for near-duplicates; else in files of up to 16 million tokens."),
    ] = None
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that read a large file.")
    ] = None

    def options(self, reading: ReadingOptions) -> "CheckOptions":
        """Return what to check for."""
        from pydantic import ValidationError

        from selftune.core.errors import InvalidInput
        from selftune.data.check import CheckOptions

        try:
            return CheckOptions.model_validate(
                {
                    "method": self.method,
                    "model": self.model,
                    "content": not self.structure_only,
                    "near": self.near,
                    "processes": self.processes,
                    "read": reading.options(),
                }
            )
        except ValidationError as error:
            raise InvalidInput(
                f"--method is {self.method!r}: it is supervised, dpo, reinforcement or evaluation."
            ) from error


@grouped
def check(
    source: Source,
    checking: CheckingOptions,
    reading: ReadingOptions,
    show: Annotated[int, typer.Option(min=1, max=20, help="Places to show of each problem.")] = 3,
    json: Json = False,
) -> None:
    """Show everything that is wrong with data, and what to do about it.

    Leaves with 1 when there are errors: what a job would refuse.
    """
    from selftune.data.check import check as check_source

    found: list[Problem] = []
    each = found.append if json else None
    with shown_bytes() as progress:
        checked = check_source(source, checking.options(reading), each=each, progress=progress)
    if json:
        every = [problem.model_dump(mode="json") for problem in found]
        show_json(checked.model_dump(mode="json") | {"problems": every})
    else:
        show_checked(checked, show)
    if checked.has_errors:
        raise typer.Exit(FAILED)


def show_checked(checked: "Checked", places: int) -> None:
    """Print every rule that was breached, with the first places and the remedy, and the sums."""
    for severity, color, _ in _SEVERITIES:
        by_rule: dict[str, list[Problem]] = {}
        for found in checked.problems:
            if found.severity == severity:
                by_rule.setdefault(found.rule, []).append(found)
        for rule, found_here in by_rule.items():
            count = checked.counts[rule]
            times = "" if count == 1 else f", {count:,} times"
            out.print(f"[bold {color}]{severity}[/] [bold]{rule}[/]{times}")
            for found in found_here[:places]:
                out.print(f"  {_place(found)}{escape(found.message)}", soft_wrap=True)
            if count > places:
                out.print(f"  [dim]and {count - places:,} more[/]")
            out.print(f"  [dim]->[/] {escape(found_here[0].remedy)}", soft_wrap=True)
    sums = ", ".join(_sum(checked.count(severity), word) for severity, _, word in _SEVERITIES)
    what = f"{checked.rows:,} rows, {checked.tokens:,} tokens, for {checked.method}"
    out.print(f"{escape(checked.source)}: {what}: {sums}", soft_wrap=True)


def _sum(count: int, word: str) -> str:
    many = word.replace("piece", "pieces") if " " in word else f"{word}s"
    return f"{count:,} {word if count == 1 else many}"


def _place(found: "Problem") -> str:
    if found.line is None:
        return ""
    message = "" if found.message_index is None else f", message {found.message_index}"
    return f"line {found.line:,}{message}: "
