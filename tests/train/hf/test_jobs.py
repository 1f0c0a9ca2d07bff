"""Jobs of open models through a worker: a full disk and a killed child lose nothing."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from safetensors.torch import save_file as save_tensors
from tests.conftest import OpenStore, stored_file
from tests.made_models import make_model
from tests.test_worker import messages
from tests.train.recorded import folder_bytes

from selftune import worker
from selftune.core.records import Hyperparameters, Job, TrainOptions
from selftune.jobs import processes
from selftune.jobs.events import events_since
from selftune.jobs.queue import claim, get_job, resume_job
from selftune.models.own_catalog import add_base
from selftune.store.accounts import DEFAULT_PROJECT, default_identity
from selftune.store.files import save_file
from selftune.store.store import Store
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.worker import run_until_done

GRADER = {
    "type": "string_check",
    "name": "short",
    "input": "{{ sample.output_text }}",
    "reference": "a",
    "operation": "like",
}


@pytest.fixture
def home(open_sqlite: OpenStore, tmp_path: Path) -> Store:
    store: Store = open_sqlite(threads=1)
    base = make_model(tmp_path / "base", "llama", hidden=32, layers=1, vocabulary=384)
    add_base(store.root, {"id": "tiny/llama", "source": str(base)})
    return store


def new_job(store: Store, **asked: Any) -> Job:
    rows = [
        {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": w}]}
        for n, w in enumerate("abcdefghijkl")
    ]
    if asked.get("grader"):
        rows = [{"messages": row["messages"][:1]} for row in rows]
    file = stored_file(store, "\n".join(map(json.dumps, rows)).encode())
    save_file(store, file)
    other = stored_file(store, json.dumps(rows[0]).encode())
    save_file(store, other)
    request = FinetuneRequest(
        model="tiny/llama",
        training_file=file.id,
        validation_file=other.id,
        seed=5,
        hyperparameters=Hyperparameters(n_epochs=2, batch_size=4, learning_rate_multiplier=20),
        options=TrainOptions(rank=4, max_length=40),
        **asked,
    )
    return create_finetuning_job(store, default_identity(store), request)


def carry_out(store: Store, job: Job) -> Job:
    """Do here what a worker's child does."""
    claimed = claim(store, "elsewhere:1:1", only=job.id)
    assert claimed is not None
    assert worker.run_child(store, job.id, claimed[1].token) == 0
    return get_job(store, DEFAULT_PROJECT, job.id)


def trained(store: Store, job: Job) -> dict[str, bytes]:
    """Return a job's model, without the file that names it."""
    folder = store.root / "models" / f"{job.id}-step-6"
    return {name: data for name, data in folder_bytes(folder).items() if name != "selftune.json"}


def test_a_disk_that_fills_at_a_checkpoint_pauses_the_job_and_changes_nothing(
    home: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = new_job(home)
    assert carry_out(home, undisturbed).status == "succeeded"
    job, write, written = new_job(home), save_tensors, list[Path]()

    def full(tensors: Any, path: Path) -> None:
        written.append(path)
        if len(written) > 1:
            path.write_bytes(b"the beginning")
            raise SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            )
        write(tensors, path)

    monkeypatch.setattr("selftune.train.hf.loop.save_file", full)
    assert carry_out(home, job).status == "paused"
    assert messages(home, job)[-1] == (
        "The server's disk is full. Free space, then resume the job: it goes on from its last "
        "checkpoint"
    )
    monkeypatch.undo()
    resume_job(home, DEFAULT_PROJECT, job.id)
    assert carry_out(home, job).status == "succeeded"
    assert trained(home, job) == trained(home, undisturbed)


@pytest.mark.slow
def test_a_reinforcement_whose_child_is_killed_ends_as_if_nothing_had_happened(
    home: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"method": "reinforcement", "grader": GRADER}
    undisturbed = new_job(home, **asked)
    assert carry_out(home, undisturbed).status == "succeeded"
    job, children, start = new_job(home, **asked), list[processes.Child](), processes.start

    def remembered(*arguments: Any, **named: Any) -> processes.Child:
        children.append(start(*arguments, **named))
        return children[-1]

    monkeypatch.setattr(processes, "start", remembered)
    once = threading.Event()

    def kill(_: Job) -> None:
        """Kill the first child as soon as it has kept a checkpoint and gone on."""
        said = [event.message for event in events_since(home, job.id, 0)]
        if not once.is_set() and any(text.startswith("Step 3/") for text in said):
            once.set()
            os.kill(children[0].process.pid, signal.SIGKILL)

    done = run_until_done(home, job.id, DEFAULT_PROJECT, kill)
    assert done.status == "succeeded"
    assert once.is_set()
    assert len(children) == 2
    assert trained(home, job) == trained(home, undisturbed)
    steps = [text for text in messages(home, job) if text.startswith("Step ")]
    assert [text.split("/")[0] for text in steps] == [f"Step {n}" for n in range(1, 7)]
