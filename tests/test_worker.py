"""Jobs as a worker runs them: real child processes, the fake engine."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

import pytest
from tests.conftest import OpenStore, stored_file

from selftune import worker
from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters, Job, JobStatus
from selftune.core.settings import child_environment
from selftune.jobs import processes
from selftune.jobs.events import events_since
from selftune.jobs.processes import Child
from selftune.jobs.queue import (
    Lease,
    cancel_job,
    claim,
    fenced,
    get_job,
    move,
    request_pause,
    resume_job,
)
from selftune.store.accounts import DEFAULT_PROJECT, default_identity
from selftune.store.checkpoints import list_checkpoints
from selftune.store.files import get_file, save_file
from selftune.store.models import get_model
from selftune.store.schema import jobs
from selftune.store.store import Store
from selftune.train import run
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.train.leftovers import remove_leftovers
from selftune.worker import MAX_ATTEMPTS, run_until_done

Rows = Sequence[Mapping[str, object]]
ROWS: Rows = [
    {
        "messages": [
            {"role": "user", "content": f"question {n}"},
            {"role": "assistant", "content": f"answer {n}"},
        ]
    }
    for n in range(12)
]


def add_rows(store: Store, rows: Rows) -> str:
    file = stored_file(store, "\n".join(json.dumps(row) for row in rows).encode())
    save_file(store, file)
    return file.id


def create(
    store: Store,
    *,
    rows: Rows = ROWS,
    n_epochs: int = 4,
    validation: Rows | None = None,
    model: str = "selftune/fake",
) -> Job:
    request = FinetuneRequest(
        model=model,
        training_file=add_rows(store, rows),
        validation_file=None if validation is None else add_rows(store, validation),
        suffix="My Model!",
        seed=7,
        hyperparameters=Hyperparameters(n_epochs=n_epochs, batch_size=4),
    )
    return create_finetuning_job(store, default_identity(store), request)


def messages(store: Store, job: Job) -> list[str]:
    return [event.message for event in events_since(store, job.id, 0)]


def until(store: Store, job: Job, reached: Callable[[Job], bool], seconds: float = 30.0) -> Job:
    end = time.monotonic() + seconds
    while True:
        now = get_job(store, DEFAULT_PROJECT, job.id)
        if reached(now):
            return now
        assert time.monotonic() < end, f"still {now.status}: {messages(store, job)}"
        time.sleep(0.02)


def has_stepped(store: Store, job: Job, steps: int) -> Callable[[Job], bool]:
    return lambda _: sum(text.startswith("Step ") for text in messages(store, job)) >= steps


@contextmanager
def worker_process(store: Store) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "selftune.worker"]
    process = subprocess.Popen(command, env=child_environment(store.settings))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFTUNE_FAKE_STEP_SECONDS", "0.1")


def test_a_job_tells_openais_story_in_order(any_store: Store) -> None:
    job = create(any_store)
    file_id = job.spec["training_file"]
    done = run_until_done(any_store, job.id, DEFAULT_PROJECT)
    assert done.status == "succeeded"
    name = done.state["fine_tuned_model"]
    said = messages(any_store, job)
    assert said[0] == f"Created fine-tuning job: {job.id}"
    assert "selftune/fake" in said[1]
    assert said[2:5] == [
        f"Validating training file: {file_id}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert said[6] == "Step 1/12: training loss=2.00"
    assert said[-2:] == [
        f"New fine-tuned model created: {name}",
        "The job has successfully completed",
    ]
    snapshots = [text for text in said if text.startswith("Checkpoint created at step ")]
    assert [text.split()[4] for text in snapshots] == ["3", "6", "9"]
    assert [event.sequence for event in events_since(any_store, job.id, 0)] == list(
        range(1, len(said) + 1)
    )


def test_the_last_three_epochs_can_be_served_and_the_last_one_is_the_model(store: Store) -> None:
    job = create(store)
    done = run_until_done(store, job.id, DEFAULT_PROJECT)
    name = done.state["fine_tuned_model"]
    kept = list_checkpoints(store, job.id).data
    assert [checkpoint.step for checkpoint in kept] == [12, 9, 6]
    assert kept[0].model == name
    assert name.startswith("ft:selftune-fake:selftune:my-model:")
    assert [checkpoint.model.split(":")[-1] for checkpoint in kept[1:]] == [
        "ckpt-step-9",
        "ckpt-step-6",
    ]
    assert len({checkpoint.model.split(":")[4] for checkpoint in kept}) == 3
    folders = sorted(path.name for path in (store.root / "models").iterdir())
    assert folders == sorted(f"{job.id}-step-{step}" for step in (6, 9, 12))
    model = get_model(store, DEFAULT_PROJECT, name)
    about = json.loads((store.root / str(model.folder) / "selftune.json").read_text("utf-8"))
    assert about == {"id": name, "base": "selftune/fake", "engine": "fake", "job_id": job.id}


def test_the_result_file_has_one_row_a_step(store: Store) -> None:
    done = run_until_done(store, create(store).id, DEFAULT_PROJECT)
    file = get_file(store, DEFAULT_PROJECT, done.state["result_files"][0])
    assert (file.filename, file.purpose) == ("step_metrics.csv", "fine-tune-results")
    with store.blobs.open(file.sha256) as handle:
        lines = handle.read().decode().splitlines()
    assert lines[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(lines) == 1 + 12
    assert lines[1] == "1,2.0,0.083333,,"


def test_nothing_but_the_log_is_left_of_a_run(store: Store) -> None:
    run_until_done(store, create(store).id, DEFAULT_PROJECT)
    assert list((store.root / "runs").iterdir()) == []
    assert list((store.root / "blobs" / ".tmp").iterdir()) == []


def test_bad_data_fails_the_job_in_openais_words(store: Store) -> None:
    done = run_until_done(store, create(store, rows=ROWS[:7]).id, DEFAULT_PROJECT)
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error.code, done.error.param) == ("invalid_n_examples", "training_file")
    text = "Training file has 7 example(s), but must have at least 10 examples"
    last = events_since(store, done.id, 0)[-1]
    assert (done.error.message, last.message, last.level) == (text, text, "error")


def test_validation_rows_that_are_trained_on_are_warned_of(store: Store) -> None:
    job = create(store, validation=ROWS[:3])
    assert run_until_done(store, job.id, DEFAULT_PROJECT).status == "succeeded"
    training, validation = job.spec["training_file"], job.spec["validation_file"]
    events = events_since(store, job.id, 0)
    assert events[2].message == (
        f"Validating training file: {training} and validation file: {validation}"
    )
    assert events[3].message.startswith("3 of the 3 rows of the validation file ask what")
    assert events[3].level == "warn"


@pytest.mark.parametrize(
    ("through", "status", "code"),
    [(("queued", "running"), "paused", None), ((), "failed", "disk_full")],
)
def test_a_full_disk_pauses_a_running_job_and_loses_nothing(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    through: tuple[JobStatus, ...],
    status: JobStatus,
    code: str | None,
) -> None:
    def no_space(store: Store, job: Job, lease: Lease) -> None:
        for wanted in through:
            with fenced(store, lease) as (connection, held):
                move(store, connection, held, wanted)
        raise OSError(errno.ENOSPC, "No space left on device")

    job = create(store)
    claimed = claim(store, "elsewhere:1:1")
    assert claimed is not None
    monkeypatch.setitem(worker._VERBS, job.kind, no_space)
    assert worker.run_child(store, job.id, claimed[1].token) == 0
    now = get_job(store, DEFAULT_PROJECT, job.id)
    assert (now.status, now.error and now.error.code) == (status, code)
    assert "disk is full" in messages(store, job)[-1]
    if status == "paused":
        monkeypatch.undo()
        resume_job(store, DEFAULT_PROJECT, job.id)
        assert run_until_done(store, job.id, DEFAULT_PROJECT).status == "succeeded"


def test_what_kills_left_of_ended_jobs_is_removed_and_nothing_else(store: Store) -> None:
    done = run_until_done(store, create(store).id, DEFAULT_PROJECT)
    waiting = create(store)
    for name in ("runs/{}/state-1", "models/{}-step-1"):
        for job in (done, waiting):
            (store.root / name.format(job.id)).mkdir(parents=True)
    remove_leftovers(store)
    assert [path.name for path in (store.root / "runs").iterdir()] == [waiting.id]
    names = {path.name for path in (store.root / "models").iterdir()}
    assert names == {
        f"{done.id}-step-6",
        f"{done.id}-step-9",
        f"{done.id}-step-12",
        f"{waiting.id}-step-1",
    }


def test_what_a_kill_left_of_a_job_is_removed_when_the_job_ends(store: Store) -> None:
    job = create(store)
    retired = store.folder("models") / f"{job.id}-step-1"
    retired.mkdir()
    run_until_done(store, job.id, DEFAULT_PROJECT)
    assert not retired.exists()
    assert not (store.root / "runs" / job.id).exists()


def children_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, str]]]:
    """Return a list that fills with the Python and the environment of each child."""
    seen: list[tuple[str, Mapping[str, str]]] = []
    start = processes.start

    def note(
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        log: IO[bytes] | None = None,
        python: str = "",
    ) -> Child:
        seen.append((python, environment))
        return start(module, *arguments, environment=environment, log=log, python=python)

    monkeypatch.setattr(processes, "start", note)
    return seen


def test_a_child_keeps_its_temporary_files_in_its_scratch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = children_of(monkeypatch)
    job = create(store)
    run_until_done(store, job.id, DEFAULT_PROJECT)
    assert [env["TMPDIR"] for _, env in seen] == [str(store.root / "runs" / job.id / "scratch")]


def test_a_child_sees_the_devices_that_its_job_holds_and_no_others(
    open_sqlite: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_sqlite(devices="0:1,3:1", train_python=sys.executable)
    seen = children_of(monkeypatch)
    for devices in (0, 2):
        job = create(store, n_epochs=1)
        with store.db.write() as connection:
            connection.execute(jobs.update().where(jobs.c.id == job.id).values(devices=devices))
        assert run_until_done(store, job.id, DEFAULT_PROJECT).status == "succeeded"
    assert [python for python, _ in seen] == [sys.executable] * 2
    assert [environment["CUDA_VISIBLE_DEVICES"] for _, environment in seen] == ["", "0,3"]


def test_a_python_that_cannot_train_is_refused_at_the_start(open_sqlite: OpenStore) -> None:
    for wrong, why in (("/nowhere/python", "cannot be started"), ("/bin/false", "imported there")):
        store = open_sqlite(train_python=wrong)
        with pytest.raises(InvalidInput, match=why):
            worker.work(store, threading.Event())


def test_a_model_of_a_killed_attempt_has_the_name_that_the_next_one_records(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = create(store, n_epochs=3)
    claimed = claim(store, "elsewhere:1:1")
    assert claimed is not None
    with monkeypatch.context() as patched:
        patched.delattr(run, "insert_checkpoint")
        with pytest.raises(NameError):
            worker.run_child(store, job.id, claimed[1].token)
    assert worker.run_child(store, job.id, claimed[1].token) == 0
    recorded = list_checkpoints(store, job.id).data
    for checkpoint in recorded:
        about = json.loads((store.root / checkpoint.folder / "selftune.json").read_text("utf-8"))
        assert about["id"] == checkpoint.model


@pytest.mark.parametrize(("days", "is_kept"), [(29, True), (31, False)])
def test_the_log_of_a_job_is_removed_a_month_after_its_end(
    open_sqlite: OpenStore, days: int, is_kept: bool
) -> None:
    store = open_sqlite()
    done, waiting = run_until_done(store, create(store).id, DEFAULT_PROJECT), create(store)
    logs = store.folder("logs")
    for name in (waiting.id, "serving"):
        (logs / f"{name}.log").touch()
    remove_leftovers(open_sqlite(clock=lambda: time.time() + days * 86_400))
    left = {path.stem for path in logs.iterdir()}
    assert left == {waiting.id, "serving"} | ({done.id} if is_kept else set())


def test_a_tuned_model_can_be_tuned_on(store: Store) -> None:
    first = run_until_done(store, create(store).id, DEFAULT_PROJECT)
    name = first.state["fine_tuned_model"]
    done = run_until_done(store, create(store, model=name).id, DEFAULT_PROJECT)
    assert done.status == "succeeded"
    assert done.state["fine_tuned_model"].startswith("ft:selftune-fake:selftune:my-model:")
    assert get_model(store, DEFAULT_PROJECT, done.state["fine_tuned_model"]).base == name


def test_children_of_a_seeded_server_make_their_own_ids(open_sqlite: OpenStore) -> None:
    store = open_sqlite(profile="spec")
    jobs = [create(store) for _ in range(2)]
    ended = [run_until_done(store, job.id, DEFAULT_PROJECT).status for job in jobs]
    assert ended == ["succeeded", "succeeded"]


@pytest.mark.parametrize("missing", ["training_file", "validation_file"])
def test_a_file_that_is_not_there_is_refused_at_create(store: Store, missing: str) -> None:
    fields = {"model": "selftune/fake", "training_file": create(store).spec["training_file"]}
    request = FinetuneRequest.model_validate(fields | {missing: "file-unknown"})
    with pytest.raises(InvalidInput, match="'file-unknown'") as caught:
        create_finetuning_job(store, default_identity(store), request)
    assert caught.value.param == missing


@pytest.mark.usefixtures("slow_steps")
def test_cancel_ends_a_running_job_at_once_and_keeps_its_checkpoints(store: Store) -> None:
    job = create(store, n_epochs=50)
    with worker_process(store):
        until(store, job, has_stepped(store, job, 4))
        assert cancel_job(store, DEFAULT_PROJECT, job.id).status == "cancelled"
        said = messages(store, job)
        until(store, job, lambda _: not (store.root / "runs" / job.id).exists())
    assert said[-1] == "The job was cancelled"
    assert messages(store, job) == said
    assert list_checkpoints(store, job.id).data


@pytest.mark.usefixtures("slow_steps")
def test_a_paused_job_goes_on_from_its_checkpoint_and_ends_the_same(store: Store) -> None:
    job = create(store)
    with worker_process(store):
        until(store, job, has_stepped(store, job, 4))
        assert request_pause(store, DEFAULT_PROJECT, job.id).status == "pausing"
        until(store, job, lambda now: now.status == "paused")
        assert resume_job(store, DEFAULT_PROJECT, job.id).status == "queued"
        until(store, job, lambda now: now.status == "succeeded")
    other = run_until_done(store, create(store).id, DEFAULT_PROJECT)
    mine, undisturbed = (
        (store.root / "models" / f"{ended}-step-12" / "model.json").read_bytes()
        for ended in (job.id, other.id)
    )
    assert mine == undisturbed
    steps = [text for text in messages(store, job) if text.startswith("Step ")]
    assert [text.split("/")[0] for text in steps] == [f"Step {n}" for n in range(1, 13)]


@pytest.mark.usefixtures("slow_steps")
def test_a_job_paused_in_its_first_epoch_has_a_snapshot_of_its_last_step(store: Store) -> None:
    rows = [*ROWS] * 10
    job = create(store, rows=rows, n_epochs=1)
    with worker_process(store):
        until(store, job, has_stepped(store, job, 1))
        request_pause(store, DEFAULT_PROJECT, job.id)
        until(store, job, lambda now: now.status == "paused")
    steps = [text for text in messages(store, job) if text.startswith("Step ")]
    (snapshot,) = list_checkpoints(store, job.id).data
    assert snapshot.step == len(steps) < 30
    assert snapshot.model.endswith(f":ckpt-step-{snapshot.step}")
    folder = str(get_model(store, DEFAULT_PROJECT, snapshot.model).folder)
    assert json.loads((store.root / folder / "model.json").read_bytes())["step"] == snapshot.step
    resume_job(store, DEFAULT_PROJECT, job.id)
    assert run_until_done(store, job.id, DEFAULT_PROJECT).status == "succeeded"
    assert [one.step for one in list_checkpoints(store, job.id).data] == [30, snapshot.step]
    other = run_until_done(store, create(store, rows=rows, n_epochs=1).id, DEFAULT_PROJECT)
    mine, undisturbed = (
        (store.root / "models" / f"{ended}-step-30" / "model.json").read_bytes()
        for ended in (job.id, other.id)
    )
    assert mine == undisturbed


def test_a_job_that_always_crashes_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFTUNE_FAKE_STEP_SECONDS", "not a number")
    done = run_until_done(store, create(store).id, DEFAULT_PROJECT)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.code == "crashed"
    assert f"{MAX_ATTEMPTS} times in a row" in done.error.message
    assert done.seconds_used > 0


@pytest.mark.usefixtures("slow_steps")
def test_a_job_that_takes_too_long_is_ended(open_sqlite: OpenStore) -> None:
    store = open_sqlite(max_job_seconds=1)
    done = run_until_done(store, create(store, n_epochs=50).id, DEFAULT_PROJECT)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.code == "time_limit"


@pytest.mark.usefixtures("slow_steps")
def test_the_time_of_all_attempts_counts_and_pauses_do_not(open_sqlite: OpenStore) -> None:
    store = open_sqlite(max_job_seconds=6)
    job = create(store, n_epochs=50)
    with worker_process(store):
        until(store, job, has_stepped(store, job, 10))
        request_pause(store, DEFAULT_PROJECT, job.id)
        until(store, job, lambda now: now.status == "paused")
    first = get_job(store, DEFAULT_PROJECT, job.id).seconds_used
    assert first >= 1
    time.sleep(1)
    resume_job(store, DEFAULT_PROJECT, job.id)
    done = run_until_done(store, job.id, DEFAULT_PROJECT)
    assert done.error is not None
    assert done.error.code == "time_limit"
    assert 6 <= done.seconds_used < 6 + first


@pytest.mark.usefixtures("slow_steps")
def test_a_second_worker_takes_over_from_a_dead_one_and_its_child_dies_too(store: Store) -> None:
    job = create(store)
    with worker_process(store) as first:
        until(store, job, has_stepped(store, job, 2))
        first.send_signal(signal.SIGKILL)
        first.wait()
        with worker_process(store):
            done = until(store, job, lambda now: now.status == "succeeded")
    assert done.error is None
    steps = [text for text in messages(store, job) if text.startswith("Step ")]
    assert [text.split("/")[0] for text in steps] == [f"Step {n}" for n in range(1, 13)]


@pytest.mark.usefixtures("slow_steps")
def test_two_runners_never_run_one_job(store: Store) -> None:
    job = create(store)
    ended: list[Job] = []
    threads = [
        threading.Thread(
            target=lambda: ended.append(run_until_done(store, job.id, DEFAULT_PROJECT))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.status for one in ended] == ["succeeded", "succeeded"]
    assert ended[0].attempts == 1
    log = (store.root / "logs" / f"{job.id}.log").read_text("utf-8")
    assert "Traceback" not in log


def test_a_worker_that_is_told_to_stop_leaves_its_job_to_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFTUNE_FAKE_STEP_SECONDS", "0.1")
    job = create(store)
    with worker_process(store) as worker:
        until(store, job, has_stepped(store, job, 2))
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(20) == 0
    assert get_job(store, DEFAULT_PROJECT, job.id).status == "running"
    monkeypatch.delenv("SELFTUNE_FAKE_STEP_SECONDS")
    assert run_until_done(store, job.id, DEFAULT_PROJECT).status == "succeeded"
