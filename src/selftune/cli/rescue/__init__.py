"""`selftune rescue`: leave a provider with everything, and prove that nothing got worse."""

import typer

from selftune.cli.rescue.archive import archive
from selftune.cli.rescue.inventory import inventory
from selftune.cli.rescue.prove import prove
from selftune.cli.rescue.record import record
from selftune.cli.rescue.retrain import retrain
from selftune.cli.rescue.switch import routes, shadow, switch
from selftune.cli.rescue.verify import verify

app = typer.Typer(help="Leave a provider with everything.", no_args_is_help=True)
app.command()(inventory)
app.command()(archive)
app.command()(verify)
app.command()(record)
app.command()(retrain)
app.command()(switch)
app.command()(routes)
app.command()(shadow)
app.command()(prove)
