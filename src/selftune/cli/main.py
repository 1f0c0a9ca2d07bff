"""The command line: every noun is named here, and imported when it is used."""

from typing import Any

import typer
from typer.core import TyperGroup

from selftune.cli.console import STOPPED, err, guarded
from selftune.cli.nouns import Noun

NOUNS = (
    Noun(
        "run",
        "selftune.cli.run:run",
        "Prepare data, tune a model, ask base and tuned the same questions, write a report.",
    ),
    Noun("serve", "selftune.cli.server:serve", "Serve OpenAI's API from this machine."),
    Noun(
        "worker",
        "selftune.cli.server:worker",
        "Take jobs and run them, until stopped; beside a server, or on another machine.",
    ),
    Noun("chat", "selftune.cli.chat:chat", "Ask a model."),
    Noun(
        "doctor",
        "selftune.cli.doctor:doctor",
        "Check the installation, and say what to do about what is not well.",
    ),
    Noun("version", "selftune.cli.version:version", "Print the version."),
    Noun("data", "selftune.cli.data:app", "Prepare data."),
    Noun("eval", "selftune.cli.eval:app", "Evaluate models."),
    Noun("plan", "selftune.cli.plan:app", "Plan a training: how much data, which settings."),
    Noun("jobs", "selftune.cli.jobs:app", "Fine-tuning jobs."),
    Noun("files", "selftune.cli.files:app", "Files."),
    Noun("rescue", "selftune.cli.rescue:app", "Leave a provider with everything."),
    Noun("models", "selftune.cli.models:app", "Models."),
    Noun("profiles", "selftune.cli.profiles:app", "Accounts at providers."),
    Noun("keys", "selftune.cli.access:keys", "API keys."),
    Noun("webhooks", "selftune.cli.access:webhooks", "Where events are sent."),
)


class Surface(TyperGroup):
    """The nouns, in the order above."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for noun in NOUNS:
            self.add_command(noun)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; say so when Ctrl-C ends it, which typer does not."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("stopped")
            raise typer.Exit(STOPPED) from None


app = typer.Typer(
    name="selftune",
    cls=Surface,
    help="The fine-tuning platform that you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def selftune() -> None:
    """Leave all to the nouns."""


def main() -> None:
    """Run the command line."""
    guarded(lambda: app(standalone_mode=True))
