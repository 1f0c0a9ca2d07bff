"""`selftune plan curve`: what more training data would bring."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import out, show_table
from selftune.cli.grouping import grouped
from selftune.cli.plan.options import File, Json, MetricName, metric_of
from selftune.cli.plan.progress import Shown

if TYPE_CHECKING:
    from selftune.evaluate.curve.report import CurveReport
    from selftune.planning import CurveOptions


@dataclass(frozen=True)
class Wanted:
    """What to try."""

    sizes: Annotated[
        str, typer.Option(help="Rows, as 50,100,200,400; else an eighth to all of them.")
    ] = ""
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Subsets of each size.")] = 3
    metric: MetricName = "accuracy"
    target: Annotated[
        str, typer.Option(help="What to reach, as 90% or 0.9, or an error: how many rows?")
    ] = ""
    priced_as: Annotated[
        str | None, typer.Option(help="Count costs at the prices of this model.")
    ] = None
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep every model that was trained.")
    ] = False

    def options(self) -> "CurveOptions":
        """Return it as the flow takes it."""
        from selftune.planning import CurveOptions

        return CurveOptions(
            sizes=_sizes(self.sizes),
            seeds=self.seeds,
            metric=metric_of(self.metric),
            target=_target(self.target),
            priced_as=self.priced_as,
            keep_models=self.keep_models,
        )


@grouped
def curve(
    file: File,
    wanted: Wanted,
    html: Annotated[Path | None, typer.Option(help="Write a page with the plot.")] = None,
    json: Json = False,
) -> None:
    """Say what more training data would bring: train on nested subsets, fit a curve, forecast.

    Every size is asked the same questions, which none was trained on. The same command again goes on
    where it was stopped, and trains only sizes that are new.
    """
    from selftune.evaluate.curve.page import to_html
    from selftune.evaluate.curve.report import to_json
    from selftune.planning import plan_curve

    options = wanted.options()
    if html is not None and not html.absolute().parent.is_dir():
        raise typer.BadParameter(
            f"there is no folder {html.absolute().parent}", param_hint="--html"
        )
    with Shown() as shown:
        report = plan_curve(file, options, progress=shown)  # type: ignore[arg-type]  # a Progress by shape
    if html is not None:
        html.write_text(to_html(report), encoding="utf-8")
    if json:
        typer.echo(to_json(report))
        return
    _show(report)
    if html is not None:
        out.print(f"\npage   {escape(str(html))}", soft_wrap=True)


def _sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is no number of rows", param_hint="--sizes")
    return tuple(int(part) for part in parts)


def _target(text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no number", param_hint="--target") from error
    return number / 100 if text.endswith("%") else number


def _show(report: "CurveReport") -> None:
    from selftune.evaluate.curve.report import (
        bill_texts,
        gain_text,
        law_text,
        laws_text,
        need_text,
        span_text,
        value_text,
    )

    def shown(value: float) -> str:
        return value_text(report.metric, value)

    out.print(
        f"[bold]{escape(report.name)}[/]: {report.model}, {report.items:,} questions\n",
        soft_wrap=True,
    )
    show_table(
        ("rows", f"{report.metric} (95 % interval)", "runs", "tokens", "time", "cost"),
        [
            (
                f"{size.rows:,}",
                f"{shown(size.value.value)} ({shown(size.value.low)} to {shown(size.value.high)})",
                ", ".join(shown(run) for run in size.runs),
                *bill_texts(size.bill),
            )
            for size in report.sizes
        ],
    )
    laws = laws_text(report)
    out.print(f"\n{law_text(report)}", soft_wrap=True)
    if laws:
        out.print(f"[dim]AICc, less is better: {laws}[/]", soft_wrap=True)
    out.print()
    show_table(
        ("more", "rows", f"{report.metric} (95 % interval)", "gain", "tokens", "time", "cost"),
        [
            (
                f"{each.forecast.times:g} x",
                f"{each.forecast.rows:,}",
                span_text(report.metric, each.forecast.error),
                gain_text(report.metric, each.forecast.gain),
                *bill_texts(each.bill),
            )
            for each in report.outlooks
        ],
    )
    color = "yellow" if report.doubts or report.outlooks[0].doubts else "green"
    out.print(f"\n[{color}]{escape(report.words)}[/]", soft_wrap=True)
    reasons = [*report.doubts[1:], *report.notes]
    reasons += [
        f"{each.forecast.times:g} x: {doubt}" for each in report.outlooks for doubt in each.doubts
    ]
    need = need_text(report)
    for reason in reasons if need is None else [*reasons, need]:
        out.print(f"  [dim]{escape(reason)}[/]", soft_wrap=True)
