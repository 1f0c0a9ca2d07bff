"""The command line: every noun is named here."""

from importlib.metadata import version as installed_version

import typer

from selftune.cli import access, chat, data, doctor, eval, files, jobs, models, run, server
from selftune.cli.console import guarded, out

app = typer.Typer(
    name="selftune",
    help="The fine-tuning platform that you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("serve")(server.serve)
app.command("worker")(server.worker)
app.command("chat")(chat.chat)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(eval.app, name="eval")
app.add_typer(jobs.app, name="jobs")
app.add_typer(files.app, name="files")
app.add_typer(models.app, name="models")
app.add_typer(access.keys, name="keys")
app.add_typer(access.webhooks, name="webhooks")


@app.command()
def version() -> None:
    """Print the version."""
    out.print(installed_version("selftune"))


def main() -> None:
    """Run the command line."""
    guarded(lambda: app(standalone_mode=True))
