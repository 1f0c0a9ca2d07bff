"""`selftune data`: from what you have to a clean training file and an honest test set."""

import typer

from selftune.cli.data.generate import generate

app = typer.Typer(help="Prepare data.", no_args_is_help=True)
app.command()(generate)
