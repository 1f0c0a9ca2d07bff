"""MLflow: one run for each job, in an experiment for each base, by MLflow's own client."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from selftune.core.errors import MissingExtra
from selftune.core.records import Record
from selftune.train.tracker import Shown

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_JOB = "selftune.job"
"""Tag by which a job that goes on finds its run."""
_LONGEST_PARAM = 500


class Params(Record):
    """Where MLflow is."""

    address: str


class MLflow:
    """One job's run."""

    def __init__(self, client: "MlflowClient", run_id: str, address: str | None) -> None:
        self._client, self._run = client, run_id
        self.address = address
        figures = client.get_run(run_id).data.metrics
        self.last_step = max(
            (each.step for name in figures for each in client.get_metric_history(run_id, name)),
            default=0,
        )

    def configure(self, values: Mapping[str, int | float]) -> None:
        known = self._client.get_run(self._run).data.params
        for name, value in values.items():
            if name not in known:  # a parameter never changes
                self._client.log_param(self._run, name, value)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=figures)

    def finish(self, *, succeeded: bool | None) -> None:
        if succeeded is not None:
            self._client.set_terminated(self._run, "FINISHED" if succeeded else "FAILED")


def check(params: Params) -> None:
    """Accept every address; the training tells what is wrong with it."""


def build(params: Params, run: Shown) -> MLflow:
    """Go on with a job's run, or begin one."""
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "MLflow needs mlflow-skinny: pip install 'selftune[trackers]'", code="missing_extra"
        ) from missing
    client = MlflowClient(tracking_uri=params.address)
    experiment = _experiment(client, f"selftune {run.base}".replace("/", "-"))
    found = client.search_runs([experiment], f"tags.`{_JOB}` = '{run.id}'", max_results=1)
    if found:
        name = str(found[0].info.run_id)
        client.update_run(name, "RUNNING")
    else:
        tags = {_JOB: run.id, "selftune.model": run.model, "selftune.base": run.base}
        name = str(client.create_run(experiment, tags=tags, run_name=run.id).info.run_id)
        for key, value in run.config.items():
            client.log_param(name, f"asked.{key}", str(value)[:_LONGEST_PARAM])
    is_web = params.address.startswith(("http://", "https://"))
    root = params.address.rpartition("@")[2] if "@" in params.address else params.address
    where = f"{root.rstrip('/')}/#/experiments/{experiment}/runs/{name}" if is_web else None
    return MLflow(client, name, where)


def _experiment(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another job was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
