"""What `eval run` and `eval compare` share: gates, and how a report looks in the terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import err, out
from selftune.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from selftune.evaluate.findings import Report
    from selftune.evaluate.gates import Gate
    from selftune.evaluate.rounds import RoundFolder
    from selftune.evaluate.verdict import Policy
    from selftune.prove.plan import Plan

_COLORS = {"better": "green", "worse": "red", "passed": "green", "failed": "red"}


@dataclass(frozen=True)
class ShowOptions:
    """How a result is shown."""

    baseline: Annotated[
        str | None,
        typer.Option(help="Model that all are compared with; else the first one.", metavar="MODEL"),
    ] = None
    per_day: Annotated[
        float | None, typer.Option(min=0, help="Requests a day, for the cost of a year.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")
    ] = False


@dataclass(frozen=True)
class GateOptions:
    """What the exit status depends on."""

    fail_under: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least share that passes: 0.8. Below it, exit status 1."),
    ] = None
    sure: Annotated[
        bool, typer.Option("--sure", help="The whole 95 % interval must reach --fail-under.")
    ] = False
    no_worse_than: Annotated[
        str | None,
        typer.Option(
            help="A round, or an eval for its last one: a loss as large as the margin must be ruled "
            "out. A loss that is shown: exit status 1; neither: 3.",
            metavar="ROUND",
        ),
    ] = None
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.000001,
            help="Differences below it do not matter: 0.02, the usual one, is 2 points.",
        ),
    ] = None
    gated: Annotated[
        list[str] | None,
        typer.Option(
            help="Model that the gates are for; repeat for several. Else all but the baseline.",
            metavar="MODEL",
        ),
    ] = None
    junit: Annotated[
        Path | None, typer.Option(help="Write the round as JUnit's XML, for build servers.")
    ] = None

    def policy(self, margin: float | None = None) -> "Policy":
        """Return what counts as a difference; `margin` is the eval file's, where there is one."""
        from selftune.evaluate.verdict import STANDARD

        chosen = margin if self.margin is None else self.margin
        return STANDARD if chosen is None else STANDARD.model_copy(update={"margin": chosen})


def check(options: GateOptions, baseline: str | None, plan: "Plan") -> None:
    """Refuse what could not be judged afterwards, before anybody is asked.

    Raises:
        NotFound: there is no such model, or no such round.

    """
    from selftune.evaluate.rounds import eval_folder
    from selftune.evaluate.task import GIVEN

    names = [arm.name for arm in plan.arms] or [GIVEN]
    for wanted in (*(options.gated or ()), *(() if baseline is None else (baseline,))):
        if wanted not in names:
            has = ", ".join(map(repr, names))
            raise NotFound(f"There is no model {wanted!r}: the eval asks {has}.")
    older, home = options.no_worse_than, Path()
    # Its own name means the round before, of which the first one has none.
    if older is not None and eval_folder(home, older) != eval_folder(home, plan.name):
        found_round(older)


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Say it in words when a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.") from error


def judged(
    options: GateOptions, report: "Report", folder: "RoundFolder", policy: "Policy"
) -> "tuple[Gate, ...]":
    """Return the gates that were asked for, none without one; write the XML that was asked for."""
    from selftune.evaluate.gates import gated, judge, no_worse_than
    from selftune.evaluate.junit import write_junit

    if options.junit is not None:
        with in_words(options.junit):
            write_junit(folder, options.junit)
    if options.fail_under is None and options.no_worse_than is None:
        return ()
    arms = gated(report, options.gated or ())
    gates = judge(arms, options.fail_under, sure=options.sure)
    if options.no_worse_than is not None:
        older = _older_round(options.no_worse_than, folder)
        gates += no_worse_than([arm.name for arm in arms], folder, older, policy)
    return gates


def leave(gates: "Sequence[Gate]") -> None:
    """Say how the gates ended, and leave with their status where it is not 0."""
    from selftune.evaluate.gates import exit_status

    for gate in gates:
        color = _COLORS.get(gate.outcome, "yellow")
        words = f"{gate.name}, {gate.arm}: {gate.words}"
        err.print(f"[{color}]{gate.outcome}[/] {escape(words)}", soft_wrap=True)
    status = exit_status(gates)
    if status:
        raise typer.Exit(status)


def _older_round(name: str, folder: "RoundFolder") -> "RoundFolder":
    """Return a round to compare with; where an eval's name means this round, the one before it."""
    from selftune.evaluate.pairing import round_before

    older = found_round(name)
    if older.path.resolve() != folder.path.resolve():
        return older
    if name == folder.path.name or Path(name).is_dir():
        raise InvalidInput(f"The round {name!r} is the one that is judged: name an older one.")
    return round_before(folder)


def found_round(name: str) -> "RoundFolder":
    """Return a round by its id, its folder, or an eval's last finished one by its name.

    Raises:
        NotFound: there is none.

    """
    from selftune.core.settings import load_settings
    from selftune.evaluate.rounds import find_round

    return find_round(load_settings().root, name)


def show_report(report: "Report") -> None:
    """Print the table, the verdicts with their reasons, and what to know."""
    from rich.table import Table

    from selftune.evaluate.report import figures

    table = Table(header_style="bold")
    for column in ("", *(arm.summary.name for arm in report.arms)):
        table.add_column(escape(column), overflow="fold")
    for row in figures(report):
        table.add_row(*(escape(cell) for cell in row))
    out.print(table)
    for one in report.comparisons:
        color = _COLORS.get(one.outcome, "yellow")
        out.print(f"[{color}]{escape(one.words)}[/]", soft_wrap=True)
        for reason in one.verdict.reasons:
            out.print(f"  [dim]{escape(reason)}[/]", soft_wrap=True)
    for note in report.notes:
        out.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
