"""`selftune eval compare`: rounds side by side, on the questions that they share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from selftune.cli.console import err
from selftune.cli.eval.gating import (
    GateOptions,
    ShowOptions,
    found_round,
    in_words,
    judged,
    leave,
    show_report,
)
from selftune.cli.grouping import grouped


@dataclass(frozen=True)
class PageOptions(ShowOptions):
    """How a comparison is shown, and where its page goes."""

    html: Annotated[Path | None, typer.Option(help="Write the report as one page.")] = None


@grouped
def compare(
    rounds: Annotated[
        list[str],
        typer.Argument(
            help="Rounds: an id, a folder, or the name of an eval for its last one. Models of the "
            "further ones are compared on the questions of the first.",
            metavar="ROUND...",
        ),
    ],
    showing: PageOptions,
    gating: GateOptions,
) -> None:
    """Compare the models of one round, or of several.

    Exit status: 0 all gates passed, 1 one failed, 2 misused, 3 nothing can be said.
    """
    from selftune.evaluate.report import read_report, to_html, to_json, to_markdown

    folder, *more = [found_round(name) for name in rounds]
    policy = gating.policy()
    report = read_report(
        folder,
        baseline=showing.baseline,
        others=[(arm.name, other) for other in more for arm in other.read().arms],
        policy=policy,
        requests_per_day=showing.per_day,
    )
    gates = judged(gating, report, folder, policy)
    if showing.html is not None:
        with in_words(showing.html):
            showing.html.parent.mkdir(parents=True, exist_ok=True)
            showing.html.write_text(to_html(report), encoding="utf-8")
        err.print(f"report   {showing.html}", soft_wrap=True, markup=False)
    if showing.json:
        typer.echo(to_json(report))
    elif showing.markdown:
        typer.echo(to_markdown(report))
    else:
        show_report(report)
    leave(gates)
