"""The whole flow, one verb a function. Read this first.

`create_finetuning_job` saves intent; `finetune` is what a worker's child does with it; `run` is the
whole way from a file to a report.
"""

from pathlib import Path

from selftune.core import plugins
from selftune.core.records import File, Job, TrainSpec
from selftune.data.overlap import shared_rows
from selftune.data.validate import Checked, check_training_file
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.queue import Lease, fenced, move, update_state
from selftune.store.checkpoints import list_checkpoints
from selftune.store.files import get_file, insert_file
from selftune.store.models import get_model, insert_model
from selftune.store.store import Store
from selftune.train import engines
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.train.engine import Engine, TrainRequest
from selftune.train.results import result_file
from selftune.train.run import JobRun

__all__ = [
    "FinetuneRequest",
    "create_finetuning_job",
    "finetune",
]


def finetune(store: Store, job: Job, lease: Lease) -> None:
    """Carry one fine-tuning job from where it stands to its model.

    Every step is safe to repeat: a job that was killed starts here again and goes on from its last
    checkpoint, and what it says a second time is not written a second time.

    Raises:
        JobFailed: the files are not what training needs.
        Interrupted: the job was cancelled or paused, or belongs to another worker now.

    """
    spec = TrainSpec.model_validate(job.spec)
    run = JobRun(store, job, lease)
    checked = _validate(store, job, lease, run)
    _advance(store, lease, checked)
    engine = _engine(spec)
    trained = engine.train(_request(store, job, spec), run)
    run.flush()
    _finish(store, lease, run, trained.trained_tokens)


def _validate(store: Store, job: Job, lease: Lease, run: JobRun) -> Checked:
    spec = TrainSpec.model_validate(job.spec)
    names = f"Validating training file: {spec.training_file}"
    if spec.validation_file is not None:
        names += f" and validation file: {spec.validation_file}"
    run.note("validating", names)
    rows = store.settings.max_training_rows
    training = _path(store, job, spec.training_file)
    checked = check_training_file(training, max_rows=rows)
    if spec.validation_file is not None:
        validation = _path(store, job, spec.validation_file)
        total = check_training_file(validation, max_rows=rows, which="validation").examples
        shared = shared_rows(training, validation)
        if shared:
            _warn_of_overlap(store, lease, shared, total)
    return checked


def _warn_of_overlap(store: Store, lease: Lease, shared: int, total: int) -> None:
    message = (
        f"{shared} of the {total} rows of the validation file are in the training file too: "
        "the validation loss will look better than it is"
    )
    with fenced(store, lease) as (connection, job):
        event = NewEvent(key="overlap", message=message, level="warn")
        append_events(store, connection, job.id, (event,))


def _advance(store: Store, lease: Lease, checked: Checked) -> None:
    """Move the job to `running`, through `queued`, with the events that go with it."""
    with fenced(store, lease) as (connection, job):
        if job.status == "validating_files":
            event = NewEvent(
                key="validated",
                message="Files validated, moving job to queued state",
                data={"examples": checked.examples, "tokens": checked.tokens},
            )
            append_events(store, connection, job.id, (event,))
            job = move(store, connection, job, "queued")
        if job.status == "queued":
            event = NewEvent(key="started", message="Fine-tuning job started")
            append_events(store, connection, job.id, (event,))
            move(store, connection, job, "running")


def _engine(spec: TrainSpec) -> Engine:
    plugin = plugins.load(engines, spec.engine)
    engine: Engine = plugin.build(plugin.Params())
    return engine


def _request(store: Store, job: Job, spec: TrainSpec) -> TrainRequest:
    folder = None
    if spec.base.startswith("ft:"):
        folder = store.root / str(get_model(store, job.project_id, spec.base).folder)
    validation = spec.validation_file
    return TrainRequest(
        base_folder=folder,
        training_file=_path(store, job, spec.training_file),
        validation_file=None if validation is None else _path(store, job, validation),
        hyperparameters=spec.hyperparameters,
        seed=spec.seed,
        threads=store.settings.threads,
    )


def _finish(store: Store, lease: Lease, run: JobRun, trained_tokens: int) -> None:
    """Store the model, the result file, the last events and the final state, all at once."""
    last = list_checkpoints(store, lease.job_id, limit=1).data[0]
    with fenced(store, lease) as (connection, job):
        name = str(job.state["fine_tuned_model"])
        results: File = result_file(store, connection, job)
        insert_file(store, connection, results)
        folder = last.folder
        insert_model(connection, run.model(name, folder), is_checkpoint=False)
        said = (
            NewEvent(key="model", message=f"New fine-tuned model created: {name}"),
            NewEvent(key="completed", message="The job has successfully completed"),
        )
        append_events(store, connection, job.id, said)
        found = {"trained_tokens": trained_tokens, "result_files": [results.id]}
        update_state(connection, job, found)
        move(store, connection, job, "succeeded")


def _path(store: Store, job: Job, file_id: str) -> Path:
    return store.blobs.local_path(get_file(store, job.project_id, file_id).sha256)
