"""`selftune plan search`: which hyperparameters to train with."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import out, show_table
from selftune.cli.plan.options import File, Json, MetricName, metric_of
from selftune.cli.plan.progress import Shown

if TYPE_CHECKING:
    from selftune.planning.search import SearchReport, Trial


def search(
    file: File,
    budget_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="For all trials together.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=1000, help="At most; 20 without a budget.")
    ] = None,
    metric: MetricName = "accuracy",
    json: Json = False,
) -> None:
    """Look for better hyperparameters than auto, judged on validation rows only.

    Test items are never asked. The same command again goes on where it was stopped. Needs
    `pip install 'selftune[plan]'`.
    """
    from selftune.planning import SearchOptions, plan_search

    options = SearchOptions(trials=trials, budget_minutes=budget_minutes, metric=metric_of(metric))
    with Shown() as shown:
        report = plan_search(file, options, progress=shown)  # type: ignore[arg-type]  # a Progress by shape
    if json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        _show(report)


def _show(report: "SearchReport") -> None:
    from selftune.evaluate.curve.report import value_text
    from selftune.planning.search import recipe

    out.print(
        f"[bold]{escape(report.name)}[/]: {report.training_rows:,} rows to train on, "
        f"{report.items:,} validation rows, judged by {escape(report.judged_by)}\n",
        soft_wrap=True,
    )

    def shown(trial: "Trial") -> str:
        if trial.value is None or trial.failed is not None:
            return f"failed: {trial.failed}"
        return value_text(report.metric, trial.value)

    show_table(
        ("trial", "recipe", "came to", report.metric, "time"),
        [
            (
                one.number,
                recipe(one.asked),
                ", ".join(f"{value:g}" for value in one.used.values()),
                shown(one),
                f"{one.seconds:,.1f} s",
            )
            for one in report.trials
        ],
    )
    color = "yellow" if report.choice.keep_auto else "green"
    out.print(f"\n[{color}]{escape(report.choice.words)}[/]", soft_wrap=True)
    notes = (
        *report.notes,
        f"Stopped: {report.stopped}.",
        "One seed each: another seed may shift a trial by as much as seeds of `plan curve` do. "
        "Prove the choice on the test items with `selftune run`.",
    )
    for note in notes:
        out.print(f"  [dim]{escape(note)}[/]", soft_wrap=True)
    out.print(f"\n{escape(report.run_file_lines)}", soft_wrap=True)
