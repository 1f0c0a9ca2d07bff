"""Trackers: what services are told of a training, read back from what their libraries wrote."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import OpenStore, stored_file
from tests.train.recorded import RecordedRun

from selftune.core.errors import InvalidInput, JobFailed, Paused
from selftune.core.records import Job
from selftune.jobs.events import NewEvent, append_events, list_events
from selftune.jobs.queue import Lease, claim
from selftune.store.accounts import default_identity
from selftune.store.files import save_file
from selftune.store.store import Store
from selftune.train import tracked as tracking
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.train.engine import Resolved, StepMetrics
from selftune.train.tracked import tracked

ROW = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
PAUSE = Paused("The job was paused.", code="paused")
WANDB: dict[str, object] = {
    "type": "wandb",
    "wandb": {"project": "p", "entity": "team", "tags": ["mine"]},
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def made(store: Store, *integrations: dict[str, object]) -> tuple[Job, Lease]:
    file = stored_file(store, ROW * 10)
    save_file(store, file)
    request = FinetuneRequest(
        model="selftune/fake", training_file=file.id, integrations=integrations
    )
    create_finetuning_job(store, default_identity(store), request)
    claimed = claim(store, "elsewhere:1:1")
    assert claimed is not None
    return claimed


def metrics(step: int) -> StepMetrics:
    return StepMetrics(
        step=step, total_steps=6, train_loss=1 / step, train_mean_token_accuracy=step / 8
    )


def train(
    store: Store, job: Job, lease: Lease, steps: range, *, error: Exception | None = None
) -> None:
    """Report steps as an engine does; the events of each are stored as a job's are."""
    with tracked(store, job, lease, RecordedRun(store.root, store.root)) as run:
        run.resolved({"n_epochs": Resolved(value=3, reason="asked for")})
        for step in steps:
            run.step(metrics(step))
            with store.db.write() as connection:
                data = metrics(step).model_dump(exclude_none=True)
                event = NewEvent(key=f"step-{step}", message="", type="metrics", data=data)
                append_events(store, connection, job.id, (event,))
        if error is not None:
            raise error


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for what a process that ends would leave undone: here the process goes on."""
    monkeypatch.setattr(tracking, "SETTLE_SECONDS", 60.0)
    monkeypatch.setattr(tracking, "ABANDON_SECONDS", 60.0)


def train_in_two_parts(store: Store, job: Job, lease: Lease) -> None:
    with pytest.raises(Paused):
        train(store, job, lease, range(1, 5), error=PAUSE)
    train(store, job, lease, range(3, 7))


def warnings_of(store: Store, job: Job) -> list[str]:
    return [event.message for event in list_events(store, job.id).data if event.level == "warn"]


def told(store: Store, job: Job) -> list[str]:
    return [event.message for event in list_events(store, job.id).data]


def tensorboard_events(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield where each record of an event file ends, and its event."""
    from tensorboardX.proto.event_pb2 import Event

    content, at = path.read_bytes(), 0
    while at < len(content):
        length = struct.unpack_from("<Q", content, at)[0]
        event = Event.FromString(content[at + 12 : at + 12 + length])
        at += 16 + length
        yield at, event


def tensorboard_scalars(folder: Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for path in sorted(folder.glob("*tfevents*"))
        for _, event in tensorboard_events(path)
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def test_tensorboard_has_each_step_once_after_a_pause(
    open_sqlite: OpenStore, tmp_path: Path
) -> None:
    store = open_sqlite(tensorboard_dir=str(tmp_path / "board"))
    job, lease = made(store)
    train_in_two_parts(store, job, lease)
    found = tensorboard_scalars(tmp_path / "board" / job.id)
    losses = [(step, value) for step, name, value in found if name == "train_loss"]
    assert dict(losses) == pytest.approx({step: 1 / step for step in range(1, 7)})
    assert [step for step, _ in losses] == list(range(1, 7))
    accuracies = [step for step, name, _ in found if name == "train_mean_token_accuracy"]
    assert accuracies == list(range(1, 7))
    assert warnings_of(store, job) == []


def test_an_event_file_that_a_kill_tore_is_gone_on_after(
    open_sqlite: OpenStore, tmp_path: Path
) -> None:
    store = open_sqlite(tensorboard_dir=str(tmp_path))
    job, lease = made(store)
    train(store, job, lease, range(1, 5))
    (path,) = (tmp_path / job.id).glob("*tfevents*")
    end = max(end for end, event in tensorboard_events(path) if event.step == 4)
    path.write_bytes(path.read_bytes()[: end - 5])
    train(store, job, lease, range(5, 6))
    (path, _) = sorted((tmp_path / job.id).glob("*tfevents*"))
    path.unlink()
    again = tensorboard_scalars(tmp_path / job.id)
    names = {name for step, name, _ in again if step == 4}
    assert names == {"train_mean_token_accuracy", "train_loss"}  # the torn step is told again whole
    assert [step for step, name, _ in again if name == "train_loss"] == [4, 5]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of mlflow's own tables
def test_mlflow_has_one_run_with_each_step_once(open_sqlite: OpenStore, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    store = open_sqlite(mlflow_uri=address)
    job, lease = made(store)
    train_in_two_parts(store, job, lease)
    assert warnings_of(store, job) == []
    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("selftune selftune-fake")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (job.id, "FINISHED")
    assert run.data.params["n_epochs"] == "3"
    assert run.data.params["asked.method"] == "supervised"
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert sorted((each.step, each.value) for each in losses) == [
        (step, 1 / step) for step in range(1, 7)
    ]


def wandb_records(folder: Path) -> Iterator[Any]:
    """Read the records of an offline run: a log of LevelDB's form."""
    from wandb.proto import wandb_internal_pb2

    record: Any = vars(wandb_internal_pb2)["Record"]  # its types do not say that it is there

    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        content, at, pending = path.read_bytes(), 7, b""
        while at + 7 <= len(content):
            if 32768 - at % 32768 < 7:  # a block's end has no room for a head
                at += 32768 - at % 32768
                continue
            length, kind = struct.unpack_from("<HB", content, at + 4)
            pending += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last piece
                yield record.FromString(pending)
                pending = b""


@pytest.mark.usefixtures("offline")
def test_weights_and_biases_has_the_jobs_name_openais_tags_and_each_step_once(store: Store) -> None:
    job, lease = made(store, WANDB)
    train_in_two_parts(store, job, lease)
    assert warnings_of(store, job) == []
    assert f"The job is shown at https://wandb.ai/team/p/runs/{job.id}" in told(store, job)
    steps, names = [], set()
    for record in wandb_records(store.root / "trackers" / job.id / "0"):
        kind = record.WhichOneof("record_type")
        found = getattr(record, kind or "", None)
        if kind == "history" and found is not None:
            steps.append(found.step.num)
        elif kind == "run" and found is not None:
            names.add((found.run_id, found.project, tuple(found.tags)))
    assert steps == list(range(1, 7))
    tags = ("mine", "openai/finetune", f"openai/{job.id}", "openai/selftune/fake")
    assert {(name, project, tuple(sorted(tags))) for name, project, tags in names} == {
        (job.id, "p", tags)
    }


def test_a_job_for_weights_and_biases_is_refused_without_a_key(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(InvalidInput, match="sets WANDB_API_KEY") as refused:
        made(store, WANDB)
    assert refused.value.param == "integrations"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert made(store, WANDB)[0].status == "validating_files"


@pytest.mark.usefixtures("offline")
def test_tags_that_the_service_would_not_take_are_refused(store: Store) -> None:
    for tags in (["x" * 65], [""], ["t"] * 51):
        with pytest.raises(InvalidInput, match="50 tags of 1 to 64"):
            made(store, {"type": "wandb", "wandb": {"project": "p", "tags": tags}})


@pytest.mark.usefixtures("offline")
def test_a_project_without_a_name_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match=r"'integrations.wandb.project'.*at least 1 character"):
        made(store, {"type": "wandb", "wandb": {"project": ""}})


def test_a_tracker_that_fails_is_told_of_once_and_the_training_goes_on(
    open_sqlite: OpenStore, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    store = open_sqlite(tensorboard_dir=str(tmp_path / "file"))
    job, lease = made(store)
    train(store, job, lease, range(1, 7))
    (warning,) = warnings_of(store, job)
    assert warning.startswith("The tracker tensorboard does not show the job any more (")
    assert str(tmp_path) not in warning


class Stuck:
    """A service that never answers."""

    address = None
    last_step = 0

    def __init__(self) -> None:
        self.gate = threading.Event()

    def configure(self, values: object) -> None:
        self.gate.wait()

    def log(self, step: int, values: object) -> None:
        self.gate.wait()

    def finish(self, *, succeeded: bool | None) -> None:
        self.gate.wait()


def test_a_tracker_that_hangs_stalls_nothing(
    open_sqlite: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Stuck()
    monkeypatch.setattr(tracking, "build_tracker", lambda *_: stuck)
    monkeypatch.setattr(tracking, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(tracking, "MOST_WAITING", 3)
    store = open_sqlite(tensorboard_dir=str(tmp_path))
    job, lease = made(store)
    train(store, job, lease, range(1, 7))
    stuck.gate.set()
    assert warnings_of(store, job) == [
        "The tracker tensorboard is too slow to show the rest of the job. "
        "The training goes on without it"
    ]


def test_a_failed_training_is_not_shown_as_finished(store: Store) -> None:
    ended: list[bool | None] = []

    class Ending(Stuck):
        def __init__(self) -> None:
            super().__init__()
            self.gate.set()

        def finish(self, *, succeeded: bool | None) -> None:
            ended.append(succeeded)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tracking, "build_tracker", lambda *_: Ending())
        patched.setenv("WANDB_MODE", "offline")
        job, lease = made(store, WANDB)
        with pytest.raises(JobFailed):
            train(store, job, lease, range(1, 2), error=JobFailed("No.", code="invalid"))
        with pytest.raises(Paused):
            train(store, job, lease, range(1, 2), error=PAUSE)
    assert ended == [False, None]
