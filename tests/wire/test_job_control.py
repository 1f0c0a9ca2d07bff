"""Pause, resume and cancel by the official client, while a real worker trains."""

import time
from collections.abc import Callable

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob
from tests.wire.conftest import Server
from tests.wire.test_python_client import ask, ended, rows

pytestmark = pytest.mark.xdist_group("server")
STEP_SECONDS = 0.05
EPOCHS, STEPS = 8, 40
"""Of five steps each: long enough to be stopped in the middle."""


@pytest.fixture(scope="module")
def client(start_server: Callable[..., Server]) -> OpenAI:
    pace = {"SELFTUNE_FAKE_STEP_SECONDS": str(STEP_SECONDS)}
    server = start_server(**pace, SELFTUNE_THREADS="0")  # all cores, as a user has it
    return OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)


@pytest.fixture
def job(client: OpenAI) -> FineTuningJob:
    """Give a job that has a checkpoint and far to go."""
    file = client.files.create(file=("train.jsonl", rows(20)), purpose="fine-tune")
    made = client.fine_tuning.jobs.create(
        model="selftune/fake", training_file=file.id, hyperparameters={"n_epochs": EPOCHS}
    )
    return until(client, made, lambda _: bool(checkpoint_names(client, made)))


def until(
    client: OpenAI, job: FineTuningJob, reached: Callable[[FineTuningJob], bool]
) -> FineTuningJob:
    deadline = time.monotonic() + 60
    while not reached(now := client.fine_tuning.jobs.retrieve(job.id)):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def paused(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    client.fine_tuning.jobs.pause(job.id)
    return until(client, job, lambda now: str(now.status) == "paused")


def checkpoint_names(client: OpenAI, job: FineTuningJob) -> list[str]:
    found = client.fine_tuning.jobs.checkpoints.list(job.id)
    return [checkpoint.fine_tuned_model_checkpoint for checkpoint in found]


def steps(client: OpenAI, job: FineTuningJob) -> list[str]:
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    return [event.message.split("/")[0] for event in reversed(events) if event.type == "metrics"]


def test_a_paused_job_keeps_its_steps_and_goes_on_from_there(
    client: OpenAI, job: FineTuningJob
) -> None:
    assert str(client.fine_tuning.jobs.pause(job.id).status) == "pausing"
    stopped = until(client, job, lambda now: str(now.status) == "paused")
    assert stopped.finished_at is None
    assert stopped.fine_tuned_model is None
    before = steps(client, job)
    time.sleep(5 * STEP_SECONDS)
    assert steps(client, job) == before
    assert 5 <= len(before) < STEPS
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    done = ended(client, job)
    assert done.status == "succeeded"
    assert steps(client, job) == [f"Step {n}" for n in range(1, STEPS + 1)]
    assert ask(client, str(done.fine_tuned_model), "question number 4") == "label 1"


def test_a_snapshot_of_a_paused_job_answers(client: OpenAI, job: FineTuningJob) -> None:
    paused(client, job)
    name = checkpoint_names(client, job)[0]
    assert ":ckpt-step-" in name
    assert ask(client, name, "question number 5") == "label 2"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert ask(client, name, "question number 5") == "label 2"


@pytest.mark.parametrize(
    "model", ["selftune/fake", pytest.param("selftune/minilm", marks=pytest.mark.slow)]
)
def test_a_job_paused_in_its_first_epoch_has_a_snapshot_and_loses_no_step(
    client: OpenAI, model: str
) -> None:
    file = client.files.create(file=("train.jsonl", rows(80)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=model, training_file=file.id, hyperparameters={"n_epochs": 1, "batch_size": 2}
    )
    until(client, job, lambda _: bool(steps(client, job)))
    paused(client, job)
    (name,) = checkpoint_names(client, job)
    assert name.endswith(f":ckpt-step-{len(steps(client, job))}")
    assert ask(client, name, "question number 4").startswith("label ")
    client.fine_tuning.jobs.resume(job.id)
    done = ended(client, job)
    assert done.status == "succeeded"
    assert steps(client, job) == [f"Step {n}" for n in range(1, 41)]
    assert checkpoint_names(client, job) == [done.fine_tuned_model, name]
    assert ask(client, name, "question number 4").startswith("label ")


def test_a_cancelled_job_stops_and_stays_so(client: OpenAI, job: FineTuningJob) -> None:
    gone = client.fine_tuning.jobs.cancel(job.id)
    assert gone.status == "cancelled"
    assert gone.finished_at is not None
    before = steps(client, job)
    time.sleep(5 * STEP_SECONDS)
    assert steps(client, job) == before
    for refused in (
        client.fine_tuning.jobs.cancel,
        client.fine_tuning.jobs.pause,
        client.fine_tuning.jobs.resume,
    ):
        with pytest.raises(BadRequestError, match="has status 'cancelled'"):
            refused(job.id)


def test_only_a_running_job_pauses_and_only_a_paused_one_resumes(
    client: OpenAI, job: FineTuningJob
) -> None:
    with pytest.raises(BadRequestError, match="only a paused job resumes"):
        client.fine_tuning.jobs.resume(job.id)
    paused(client, job)
    with pytest.raises(BadRequestError, match="has status 'paused'"):
        client.fine_tuning.jobs.pause(job.id)
    client.fine_tuning.jobs.cancel(job.id)


def test_an_unknown_job_is_told_in_openais_words(client: OpenAI) -> None:
    for verb in (client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(NotFoundError, match="Could not find fine tune: ftjob-nothing"):
            verb("ftjob-nothing")
