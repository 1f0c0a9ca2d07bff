"""`selftune data`: from what you have to a clean training file and an honest test set."""

import typer

from selftune.cli.data.check import check
from selftune.cli.data.convert import convert
from selftune.cli.data.dedupe import dedupe
from selftune.cli.data.describe import describe
from selftune.cli.data.distill import distill
from selftune.cli.data.estimate import estimate
from selftune.cli.data.generate import generate
from selftune.cli.data.mine import mine
from selftune.cli.data.paraphrase import paraphrase
from selftune.cli.data.split import split

app = typer.Typer(help="Prepare data.", no_args_is_help=True)
app.command()(convert)
app.command()(check)
app.command()(describe)
app.command()(estimate)
app.command()(split)
app.command()(dedupe)
app.command()(generate)
app.command()(mine)
app.command()(distill)
app.command()(paraphrase)
