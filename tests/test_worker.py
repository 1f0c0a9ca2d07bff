"""Jobs as a worker runs them: real child processes, the fake engine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from tests.conftest import OpenStore, stored_file

from selftune.core.records import Hyperparameters, Job
from selftune.core.settings import child_environment
from selftune.jobs.events import events_since
from selftune.jobs.queue import cancel_job, get_job, request_pause, resume_job
from selftune.store.accounts import DEFAULT_PROJECT, default_identity
from selftune.store.checkpoints import list_checkpoints
from selftune.store.files import get_file, save_file
from selftune.store.models import get_model
from selftune.store.store import Store
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.worker import run_until_done

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


def create(store: Store, *, rows: Rows = ROWS, n_epochs: int = 4) -> Job:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    file = stored_file(store, content)
    save_file(store, file)
    request = FinetuneRequest(
        model="selftune/fake",
        training_file=file.id,
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


def test_a_job_tells_openais_story_in_order(store: Store) -> None:
    job = create(store)
    file_id = job.spec["training_file"]
    done = run_until_done(store, job.id, DEFAULT_PROJECT)
    assert done.status == "succeeded"
    name = done.state["fine_tuned_model"]
    said = messages(store, job)
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
    assert [event.sequence for event in events_since(store, job.id, 0)] == list(
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


def test_a_job_that_always_crashes_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFTUNE_FAKE_STEP_SECONDS", "not a number")
    done = run_until_done(store, create(store).id, DEFAULT_PROJECT)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.code == "crashed"
    assert "5 times in a row" in done.error.message


@pytest.mark.usefixtures("slow_steps")
def test_a_job_that_takes_too_long_is_ended(open_sqlite: OpenStore) -> None:
    store = open_sqlite(max_job_seconds=1)
    done = run_until_done(store, create(store, n_epochs=50).id, DEFAULT_PROJECT)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.code == "time_limit"


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
