"""`selftune plan`: how much data and which settings, before the real training."""

import typer

from selftune.cli.plan.curve import curve
from selftune.cli.plan.search import search

app = typer.Typer(help="Plan a training: how much data, which settings.", no_args_is_help=True)
app.command("curve")(curve)
app.command("search")(search)


@app.callback()
def plan() -> None:
    """Plan a training: how much data, which settings."""
