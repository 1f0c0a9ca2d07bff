"""From a job to what its engine is asked: every name becomes a path of this machine."""

from pathlib import Path

from selftune.core import plugins
from selftune.core.errors import InvalidInput, JobFailed, NotFound
from selftune.core.records import Job, TrainSpec
from selftune.models.bases import base_folder
from selftune.models.catalog import catalog
from selftune.store.files import get_file
from selftune.store.models import get_model
from selftune.store.store import Store
from selftune.train import engines
from selftune.train.create import START
from selftune.train.engine import Engine, TrainRequest


def engine_of(spec: TrainSpec) -> Engine:
    """Return the engine that carries a job out."""
    plugin = plugins.load(engines, spec.engine)
    engine: Engine = plugin.build(plugin.Params())
    return engine


def request_of(store: Store, job: Job, spec: TrainSpec) -> TrainRequest:
    """Return what the engine is asked.

    Raises:
        JobFailed: the model to start from is not on this machine.

    """
    validation = spec.validation_file
    root = str(job.state.get("root", spec.base))
    base = catalog(store.root).find(root)
    return TrainRequest(
        base_folder=_start_folder(store, job, spec),
        base=root,
        targets=() if base is None else base.targets,
        learning_rate=None if base is None else base.learning_rate.get(spec.method),
        training_file=file_path(store, job, spec.training_file),
        validation_file=None if validation is None else file_path(store, job, validation),
        method=spec.method,
        hyperparameters=spec.hyperparameters,
        options=spec.options,
        response_format=spec.response_format,
        seed=spec.seed,
        threads=store.settings.threads,
    )


def file_path(store: Store, job: Job, file_id: str) -> Path:
    """Return where the bytes of a job's file are."""
    return store.blobs.local_path(get_file(store, job.project_id, file_id).sha256)


def _start_folder(store: Store, job: Job, spec: TrainSpec) -> Path | None:
    """Return the folder of the model to go on from; None for bases that an engine has itself."""
    try:
        if spec.base.startswith("ft:"):
            folder = job.state.get(START) or get_model(store, job.project_id, spec.base).folder
            return store.root / str(folder)
        base = catalog(store.root).find(spec.base)
        return None if base is None or base.source is None else base_folder(base, store.root)
    except (NotFound, InvalidInput) as error:
        raise JobFailed(error.message, code="model_not_available", param="model") from error
