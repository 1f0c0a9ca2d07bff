"""`selftune eval run FILE.toml`: ask, grade, keep, report; and an exit status for whoever waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape

from selftune.cli.console import STOPPED, err
from selftune.cli.eval.gating import (
    GateOptions,
    ShowOptions,
    check,
    in_words,
    judged,
    leave,
    show_report,
)
from selftune.cli.grouping import grouped
from selftune.core.errors import InvalidInput, MissingExtra, NotFound, SelftuneError

if TYPE_CHECKING:
    from selftune.evaluate.evalfile import EvalFile
    from selftune.evaluate.rounds import RoundFolder
    from selftune.evaluate.task import Progress


STOPPED_EARLY = 3
"""Exit status of a run that did not come to its end: what it would have found is not known."""


@dataclass(frozen=True)
class AskOptions:
    """Over what the file says."""

    model: Annotated[
        list[str] | None, typer.Option(help="A further model to ask; repeat for several.")
    ] = None
    base_url: Annotated[
        str | None, typer.Option(help="Where the models of --model answer; else as usual.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Ask only the first rows.")] = None
    samples: Annotated[
        int | None, typer.Option(min=1, help="How often each question is asked.")
    ] = None
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Most requests on their way.")
    ] = None
    budget_dollars: Annotated[
        float | None, typer.Option(min=0.000001, help="Stop before more is spent.")
    ] = None
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="Stop before more tokens are used.")
    ] = None
    stream: Annotated[
        bool, typer.Option("--stream", help="Measure the time to the first token.")
    ] = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask anew what earlier rounds asked.")] = (
        False
    )

    def over(self, spec: "EvalFile") -> "EvalFile":
        """Return the file with these options in it."""
        from selftune.prove.plan import with_models

        spec = with_models(spec, self.model or (), self.base_url)
        names = ("concurrency", "budget_dollars", "budget_tokens")
        limits = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.stream:
            limits["stream"] = True
        changed: dict[str, Any] = {"limits": spec.limits.model_copy(update=limits)}
        if self.limit is not None:
            changed["data"] = spec.data.model_copy(update={"limit": self.limit})
        if self.samples is not None:
            changed["evaluation"] = spec.evaluation.model_copy(update={"samples": self.samples})
        return spec.model_copy(update=changed)


@grouped
def run(
    file: Annotated[Path, typer.Argument(help="The eval file (TOML).")],
    asking: AskOptions,
    showing: ShowOptions,
    gating: GateOptions,
) -> None:
    """Ask every model every question, grade the answers, compare, and keep the round.

    The same command goes on where it was stopped, and pays for no answer twice. Exit status: 0 all
    gates passed, 1 one failed, 2 misused, 3 stopped, or nothing can be said.
    """
    from selftune.core.settings import load_settings
    from selftune.evaluate.evalfile import load_eval_file
    from selftune.prove.home import Home
    from selftune.prove.plan import plan_of
    from selftune.prove.round import run_round

    spec = asking.over(load_eval_file(file))
    home = Home(load_settings())
    plan = replace(plan_of(spec, file.parent, home), fresh=asking.fresh)
    check(gating, showing.baseline, plan)
    try:
        with shown_progress() as watch:
            folder = run_round(home, plan, watch)
    except (InvalidInput, NotFound, MissingExtra):
        raise
    except SelftuneError as error:
        _leave_early(error.message, STOPPED_EARLY)
    except KeyboardInterrupt:
        _leave_early("the same command goes on from here", STOPPED)
    _show(folder, spec, showing, gating)


def _leave_early(words: str, status: int) -> NoReturn:
    err.print(f"[yellow]stopped:[/] {escape(words)}", soft_wrap=True)
    raise typer.Exit(status) from None


def _show(
    folder: "RoundFolder", spec: "EvalFile", showing: ShowOptions, gating: GateOptions
) -> None:
    from selftune.evaluate.report import read_report, to_json, to_markdown
    from selftune.evaluate.write import write_report

    policy = gating.policy(spec.margin)
    report = read_report(
        folder,
        baseline=showing.baseline,
        policy=policy,
        requests_per_day=showing.per_day,
    )
    with in_words(folder.path):
        written = write_report(report, folder.path)
    gates = judged(gating, report, folder, policy)
    if showing.json:
        typer.echo(to_json(report))
    elif showing.markdown:
        typer.echo(to_markdown(report))
    else:
        show_report(report)
    err.print(f"round    {report.round.id}", soft_wrap=True)
    err.print(f"report   {written.html}", soft_wrap=True, markup=False)
    leave(gates)


@contextmanager
def shown_progress() -> Iterator[Callable[["Progress"], None]]:
    """Give what shows how far a run is; on standard error, on a terminal only."""
    if not err.is_terminal:
        yield lambda progress: None
        return
    with err.status("asking") as status:
        yield lambda progress: status.update(words(progress))


def words(progress: "Progress") -> str:
    """Return how far a run is."""
    done, total, totals = progress.done, progress.total, progress.totals
    parts = [f"{done:,}" if total is None else f"{done:,} of {total:,}"]
    if progress.seconds_left:
        parts.append(f"{_time(progress.seconds_left)} left")
    parts += [
        f"{count:,} {what}"
        for count, what in ((totals.unanswered, "unanswered"), (totals.errored, "not judged"))
        if count
    ]
    if totals.dollars:
        parts.append(f"${totals.dollars:.4f}")
    return " · ".join(parts)


def _time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min"
