"""What a tracker is: a service that shows trainings beside others, such as Weights & Biases.

A tracker module in `train/trackers/` has `Params` (a frozen record, unknown fields refused),
`check(params)`, which raises `InvalidInput` where the job would not be shown, and
`build(params, run) -> Tracker`. Its library is imported in `build`, in the training's own process.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.core.records import Record, TrainSpec
from selftune.core.settings import Settings
from selftune.train import trackers

INTEGRATIONS = ("wandb",)
"""Trackers that a job asks for itself, as OpenAI's do."""


class Shown(Record):
    """What a training is called where it is shown."""

    id: str
    """The job's: one run, however often the job was interrupted."""
    model: str
    """Name of the model that comes out."""
    base: str
    config: dict[str, Any]
    """What was asked for."""
    folder: Path
    """For the tracker's own files; they survive kills, and go when the job has ended."""
    kept: Path
    """For files that stay; made when it is needed."""


class Tracker(Protocol):
    """One training in one service."""

    address: str | None
    """Where people look at it."""
    last_step: int
    """The last step that the service has of this training; 0 at the beginning."""

    def configure(self, values: Mapping[str, int | float]) -> None:
        """Say which number stands for each hyperparameter; repeated after an interruption."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show the figures of a step; steps only rise."""
        ...

    def finish(self, *, succeeded: bool | None) -> None:
        """Say how it ended; None where it will go on."""
        ...


class Chosen(Record):
    """A tracker with what it was given."""

    name: str
    params: dict[str, Any]


def chosen_trackers(settings: Settings, spec: TrainSpec) -> tuple[Chosen, ...]:
    """Return the trackers of the server and of the job."""
    of_job = [
        Chosen(name=each["type"], params=each.get(each["type"], {})) for each in spec.integrations
    ]
    of_server = []
    if settings.tensorboard_dir:
        of_server.append(Chosen(name="tensorboard", params={"folder": settings.tensorboard_dir}))
    if settings.mlflow_uri:
        of_server.append(Chosen(name="mlflow", params={"address": settings.mlflow_uri}))
    return (*of_job, *of_server)


def check_integrations(integrations: Sequence[Mapping[str, Any]]) -> None:
    """Check that a job can be shown where it asks to be.

    Raises:
        InvalidInput: there is no such service, what it is told cannot be used, or there is no key
            for it; in words for who creates the job.

    """
    for each in integrations:
        name = str(each.get("type"))
        if name not in INTEGRATIONS:
            raise InvalidInput(
                f"Invalid value for 'integrations': {name!r} is not one of "
                f"{', '.join(INTEGRATIONS)}.",
                code="invalid_value",
                param="integrations",
            )
        plugin = plugins.load(trackers, name)
        try:
            params = plugin.Params.model_validate(each.get(name, {}))
        except ValidationError as problem:
            found = problem.errors()[0]
            path = ".".join(str(step) for step in ("integrations", name, *found["loc"]))
            raise InvalidInput(
                f"Invalid value for '{path}': {found['msg']}.", code="invalid_value", param=path
            ) from problem
        plugin.check(params)


def build_tracker(chosen: Chosen, shown: Shown) -> Tracker:
    """Connect to a service.

    Raises:
        SelftuneError: its library is not installed.

    """
    plugin = plugins.load(trackers, chosen.name)
    tracker: Tracker = plugin.build(plugin.Params.model_validate(chosen.params), shown)
    return tracker
