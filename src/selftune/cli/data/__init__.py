"""`selftune data`: from what you have to a clean training file and an honest test set."""

import typer

from selftune.cli.data.convert import convert
from selftune.cli.data.estimate import estimate
from selftune.cli.data.generate import generate

app = typer.Typer(help="Prepare data.", no_args_is_help=True)
app.command()(estimate)
app.command()(convert)
app.command()(generate)
