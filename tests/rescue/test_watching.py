"""A job at a provider is followed to its end, whatever the provider says meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.rescue.provider import Asked, Reply, provider, refusal

from selftune.core.errors import JobFailed, Unavailable
from selftune.core.records import Event
from selftune.models.profiles import Profile, open_client
from selftune.train.remote.creating import created
from selftune.train.remote.files import plain, ready
from selftune.train.remote.kept import Kept, open_book
from selftune.train.remote.watching import event_of, followed

STATES = ("running", "running", "paused", "paused", "running", "succeeded")
SAID = (
    {"message": "Fine-tuning job started", "level": "info"},
    {"message": "Step 1/20: training loss=1.50, validation loss=0.27", "level": "odd"},
    {"message": "Step 10/20 , train mean reward=0.42", "type": "metrics", "data": {"step": 10}},
    {
        "message": "Step 20/20: training loss=0.15",
        "data": {"step": 20, "total_steps": 20, "train_loss": 0.151},
    },
)


def job(status: str) -> dict[str, Any]:
    return {"id": "ftjob-1", "object": "fine_tuning.job", "status": status, "error": {}}


def test_each_event_is_heard_once_and_a_pause_is_told() -> None:
    looks = iter(range(100))
    state = "running"

    def answer(asked: Asked) -> Reply:
        nonlocal state
        if not asked.path.startswith("/v1/fine_tuning/jobs/ftjob-1/events"):
            look = next(looks)
            if look == 1:
                return refusal(503, "Busy.")
            state = STATES[min(look, len(STATES) - 1)]
            return 200, {}, job(state)
        there = len(SAID) if state == "succeeded" else 2
        said = [
            {"id": f"ftevent-{number}", "created_at": number, **event}
            for number, event in enumerate(SAID[:there])
        ]
        return 200, {}, {"object": "list", "data": said[::-1], "has_more": False}

    heard: list[Event] = []
    with provider(answer) as there:
        profile = Profile(name="there", base_url=f"{there.url}/v1")

        async def follow() -> dict[str, Any]:
            async with open_client(profile, retries=0) as client:
                return (await followed(client, "ftjob-1", heard.extend)).job

        assert asyncio.run(follow())["status"] == "succeeded"
    messages = [event.message for event in heard]
    assert messages.pop(2).startswith("The job is paused")
    assert messages == [each["message"] for each in SAID]
    steps = [event.data for event in heard if event.type == "metrics"]
    assert steps == [
        {"step": 1, "total_steps": 20, "train_loss": 1.5},
        {"step": 20, "total_steps": 20, "train_loss": 0.151},
    ]


def test_a_job_that_is_not_there_is_not_waited_for() -> None:
    with provider(lambda asked: refusal(404, "Could not find fine tune")) as there:
        profile = Profile(name="there", base_url=f"{there.url}/v1")

        async def follow() -> None:
            async with open_client(profile, retries=0) as client:
                await followed(client, "ftjob-1", lambda new: None)

        with pytest.raises(openai.NotFoundError):
            asyncio.run(follow())


def test_a_file_that_the_provider_does_not_take_ends_the_run() -> None:
    file = {"id": "file-1", "status": "error", "status_details": "Line 3 is no JSON."}
    with provider(lambda asked: (200, {}, file)) as there:
        profile = Profile(name="there", base_url=f"{there.url}/v1")

        async def wait() -> None:
            async with open_client(profile) as client:
                await ready(client, "file-1")

        with pytest.raises(JobFailed, match=r"file-1: Line 3 is no JSON"):
            asyncio.run(wait())


@pytest.mark.parametrize(
    "content", [b"c3RlcCx0cmFpbl9sb3NzCjEsMC41Cg==", b"step,train_loss\n1,0.5\n"]
)
def test_a_result_file_is_text_however_it_is_delivered(content: bytes) -> None:
    assert plain(content) == b"step,train_loss\n1,0.5\n"


def test_an_event_without_time_or_level_is_one() -> None:
    event = event_of("ftjob-1", 1, {"id": "e", "message": None})
    assert (event.message, event.level, event.created_at, event.type) == ("", "info", 0, "message")


def test_a_warning_of_azure_is_one() -> None:
    assert event_of("ftjob-1", 1, {"id": "e", "level": "warning"}).level == "warn"


def test_a_job_of_the_same_files_for_another_model_is_not_taken_for_ours(tmp_path: Path) -> None:
    replies = [refusal(503, "Busy."), (200, {}, job("queued") | {"id": "ftjob-ours"})]
    other = job("running") | {"id": "ftjob-other", "model": "gpt-4o-mini-2024-07-18"}
    files = {"training_file": "file-1", "created_at": 4_000_000_000}
    body = {"model": "gpt-4o", "training_file": "file-1", "hyperparameters": {}}

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return replies.pop(0)
        return 200, {}, {"object": "list", "data": [other | files], "has_more": False}

    async def make(there: str) -> str:
        profile = Profile(name="there", base_url=f"{there}/v1")
        async with open_client(profile) as client:
            with open_book(tmp_path, "0" * 24, Kept(profile="there", address=there)) as book:
                return await created(client, book, body)

    with provider(answer) as running:
        assert asyncio.run(make(running.url)) == "ftjob-ours"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    first = Kept(profile="p", address="a")
    (tmp_path / "remote").write_text("in the way", encoding="utf-8")
    with (
        pytest.raises(Unavailable, match=r"cannot be written.*nothing is done twice"),
        open_book(tmp_path, "d" * 64, first),
    ):
        pass
