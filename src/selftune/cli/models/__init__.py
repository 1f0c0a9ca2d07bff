"""`selftune models`: bases, what names stand for, and what was trained from them."""

import typer

from selftune.cli.models import bases, trained

app = typer.Typer(help="Models.", no_args_is_help=True)
app.command("list")(trained.listing)
app.command("show")(trained.show)
app.command("where")(trained.where)
app.command("delete")(trained.delete)
app.command("add")(bases.add)
app.command("alias")(bases.alias)
app.command("remove")(bases.remove)
app.command("pull")(bases.pull)
