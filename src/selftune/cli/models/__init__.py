"""`selftune models`: bases, what names stand for, and what was trained from them."""

import typer

from selftune.cli.models.advise import advise
from selftune.cli.models.bases import add, alias, pull, remove
from selftune.cli.models.export import check, export
from selftune.cli.models.trained import delete, listing, show, where

app = typer.Typer(help="Models.", no_args_is_help=True)
app.command("list")(listing)
for _command in (show, where, delete, add, alias, remove, pull, advise, export, check):
    app.command(_command.__name__)(_command)
