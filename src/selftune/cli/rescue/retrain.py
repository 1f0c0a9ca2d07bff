"""`selftune rescue retrain`: replacements from the user's own training files, under the old names."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selftune.cli.console import FAILED, err, open_home, out, show_json
from selftune.cli.grouping import grouped
from selftune.core.errors import InvalidInput

if TYPE_CHECKING:
    from selftune.core.records import Job
    from selftune.rescue.retrain.run import Retrained

_NUMBERS = ("n_epochs", "batch_size", "learning_rate_multiplier")


@dataclass(frozen=True)
class TrainingOptions:
    """How it is trained."""

    base: Annotated[
        str | None,
        typer.Option(help="Base to train; else what the old base's name stands for here."),
    ] = None
    everything: Annotated[
        bool, typer.Option("--all", help="All tuned models that the archive has.")
    ] = False
    training: Annotated[
        Path | None,
        typer.Option(help="Training file, where the archive lacks it; for one model."),
    ] = None
    validation: Annotated[
        Path | None, typer.Option(help="Validation file, in place of the archive's; for one model.")
    ] = None
    n_epochs: Annotated[int | None, typer.Option(min=1, max=50, help="Over what it was.")] = None
    batch_size: Annotated[int | None, typer.Option(min=1, max=256, help="Over what it was.")] = None
    learning_rate_multiplier: Annotated[
        float | None, typer.Option(min=0.000001, max=1000, help="Over what it was.")
    ] = None

    def over(self) -> dict[str, Any]:
        """Return the hyperparameters that were given."""
        given = {name: getattr(self, name) for name in _NUMBERS}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class JobOptions:
    """What becomes of the job."""

    again: Annotated[bool, typer.Option("--again", help="Train anew, even where it was done.")] = (
        False
    )
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Train now; else a running server's worker does."),
    ] = True
    alias: Annotated[
        bool,
        typer.Option("--alias/--no-alias", help="Let the old name answer with the replacement."),
    ] = True


@grouped
def retrain(
    archive: Annotated[Path, typer.Option(help="Archive of the account that had them.")],
    training: TrainingOptions,
    jobs: JobOptions,
    models: Annotated[
        list[str] | None, typer.Argument(help="Models: ft:…", metavar="[MODEL]...")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Train replacements from the same files, and let the old names answer with them.

    The same command again goes on: what is trained is not trained again. It ends with status 1
    when a model has no replacement.
    """
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.record.trained import chosen_models
    from selftune.rescue.retrain.run import Wishes
    from selftune.rescue.retrain.run import retrain as train

    opened = Archive.open(archive)
    names = chosen_models(models or (), opened, everything=training.everything)
    for name in ("training", "validation"):
        path = getattr(training, name)
        if path is not None and len(names) > 1:
            raise InvalidInput(f"--{name} is the file of one model: name one.")
        if path is not None and not path.is_file():
            raise InvalidInput(f"--{name} {path}: there is no such file.")
    store, identity = open_home()
    wishes = Wishes(
        base=training.base,
        training=training.training,
        validation=training.validation,
        hyperparameters=training.over(),
        again=jobs.again,
        waits=jobs.wait,
        alias=jobs.alias,
    )
    found = []
    for old in names:
        with ExitStack() as stack:
            status = (
                stack.enter_context(err.status(f"{old}: training")) if err.is_terminal else None
            )

            def watch(job: "Job", status: Any = status, old: str = old) -> None:
                if status is not None:
                    status.update(f"{old}: {job.status}")

            found.append(train(store, identity, opened, old, wishes, watch))
        if not json:
            _show(found[-1])
    if json:
        show_json([each.model_dump(mode="json") for each in found])
    if any(each.status in ("refused", "failed", "cancelled") for each in found):
        raise typer.Exit(FAILED)


def _show(one: "Retrained") -> None:
    def say(words: str) -> None:
        out.print(words, markup=False, soft_wrap=True)

    say(f"{one.old}: {one.status}{f': {one.reason}' if one.reason else ''}")
    if one.job is not None:
        say(f"  job {one.job} on {one.base}")
    for words in one.said:
        say(f"  {words}")
    if one.model is not None:
        say(f"  model {one.model}")
    if one.replaces:
        say("  the old name answers with it")
