"""A running job that is to pause keeps what it learned: a snapshot that can be served."""

from pathlib import Path

import pytest

from selftune.core.errors import Cancelled, Paused
from selftune.core.records import Hyperparameters, Job, TrainSpec
from selftune.jobs.events import events_since
from selftune.jobs.queue import cancel_job, claim, enqueue, fenced, move, request_pause
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.checkpoints import last_state, list_checkpoints
from selftune.store.models import get_model
from selftune.store.owners import this_process
from selftune.store.store import Store
from selftune.train.engine import StepMetrics
from selftune.train.run import JobRun

TOTAL = 4


@pytest.fixture
def run(any_store: Store) -> JobRun:
    """Give the run of a job that trains."""
    spec = TrainSpec(
        model="selftune/fake",
        base="selftune/fake",
        engine="fake",
        training_file="file-1",
        hyperparameters=Hyperparameters(),
        seed=1,
    )
    job = Job(
        id="ftjob-1",
        project_id=DEFAULT_PROJECT,
        kind="fine_tuning",
        status="queued",
        spec=spec.model_dump(mode="json"),
        state={"fine_tuned_model": "ft:base:org::abcdefgh"},
        created_at=1,
    )
    with any_store.db.write() as connection:
        enqueue(any_store, connection, job, ())
    claimed = claim(any_store, this_process())
    assert claimed is not None
    with fenced(any_store, claimed[1]) as (connection, held):
        running = move(any_store, connection, held, "running")
    return JobRun(any_store, running, claimed[1])


def metrics(step: int) -> StepMetrics:
    return StepMetrics(step=step, total_steps=TOTAL, train_loss=1, train_mean_token_accuracy=0)


def keep(run: JobRun, step: int) -> None:
    def write(folder: Path) -> None:
        (folder / "file").write_text(str(step), encoding="utf-8")

    run.checkpoint(metrics(step), 1, write, write)


def test_a_step_asks_for_a_checkpoint_and_that_pauses(any_store: Store, run: JobRun) -> None:
    request_pause(any_store, DEFAULT_PROJECT, "ftjob-1")
    assert run.step(metrics(1))
    with pytest.raises(Paused):
        keep(run, 1)
    (snapshot,) = list_checkpoints(any_store, "ftjob-1").data
    model = get_model(any_store, DEFAULT_PROJECT, snapshot.model)
    assert (any_store.root / str(model.folder) / "file").read_text("utf-8") == "1"
    assert last_state(any_store, "ftjob-1") == "runs/ftjob-1/state-1"
    said = [event.message for event in events_since(any_store, "ftjob-1", 0)]
    assert said == [
        "Step 1/4: training loss=1.00",
        f"Checkpoint created at step 1 with Snapshot ID: {snapshot.model}",
    ]


def test_a_step_of_a_job_that_goes_on_asks_for_nothing(any_store: Store, run: JobRun) -> None:
    assert not run.step(metrics(1))
    keep(run, 1)
    assert len(list_checkpoints(any_store, "ftjob-1").data) == 1


def test_before_the_first_step_a_pause_is_at_once(any_store: Store, run: JobRun) -> None:
    request_pause(any_store, DEFAULT_PROJECT, "ftjob-1")
    with pytest.raises(Paused):
        run.check()
    assert list_checkpoints(any_store, "ftjob-1").data == ()


def test_after_the_last_step_there_is_nothing_to_pause(any_store: Store, run: JobRun) -> None:
    request_pause(any_store, DEFAULT_PROJECT, "ftjob-1")
    assert run.step(metrics(TOTAL))
    keep(run, TOTAL)


def test_a_cancelled_job_keeps_nothing_more(any_store: Store, run: JobRun) -> None:
    cancel_job(any_store, DEFAULT_PROJECT, "ftjob-1")
    with pytest.raises(Cancelled):
        run.step(metrics(1))
    with pytest.raises(Cancelled):
        keep(run, 1)
    assert list_checkpoints(any_store, "ftjob-1").data == ()
