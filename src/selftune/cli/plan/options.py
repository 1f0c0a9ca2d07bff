"""What both commands take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

if TYPE_CHECKING:
    from selftune.evaluate.curve.report import Metric

File = Annotated[Path, typer.Argument(help="The run file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
MetricName = Annotated[
    str,
    typer.Option(
        help="accuracy: the share that passes; score: credit from 0 to 1; error: what graders "
        "measure where less is better."
    ),
]


def metric_of(name: str) -> "Metric":
    """Return the metric of a name, or refuse it."""
    from selftune.evaluate.curve.report import Metric

    known: dict[str, Metric] = {each: each for each in get_args(Metric)}
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--metric")
    return known[name]
