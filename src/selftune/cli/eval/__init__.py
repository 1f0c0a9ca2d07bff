"""`selftune eval`: ask models, judge their answers, and say what the difference is worth."""

import typer

from selftune.cli.eval.compare import compare
from selftune.cli.eval.exchange import bring, export
from selftune.cli.eval.history import history
from selftune.cli.eval.power import power
from selftune.cli.eval.run import run

app = typer.Typer(help="Evaluate models.", no_args_is_help=True)
app.command()(run)
app.command()(compare)
app.command()(history)
app.command()(power)
app.command("import")(bring)
app.command()(export)
