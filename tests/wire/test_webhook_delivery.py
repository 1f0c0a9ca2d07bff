"""A real server tells a listener how its jobs ended; the official client checks the signature."""

import time
from collections.abc import Callable, Iterator
from threading import Thread

import openai
import pytest
from openai import OpenAI
from tests.serve.test_webhooks import Receiver
from tests.wire.conftest import Server
from tests.wire.test_python_client import ended, rows

pytestmark = pytest.mark.xdist_group("server")
RETRY_SECONDS = 30
"""The first pause before another attempt is five seconds; the machine may be busy."""


@pytest.fixture(scope="module")
def listening(start_server: Callable[..., Server]) -> Iterator[tuple[OpenAI, Receiver]]:
    """Give a client, and the listener that its project's events go to."""
    server = start_server(SELFTUNE_FAKE_STEP_SECONDS="0.05")
    receiver = Receiver()
    thread = Thread(target=receiver.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    secret = server.selftune("webhooks", "add", receiver.url).split()[1]
    yield OpenAI(base_url=server.base_url, api_key=server.key, webhook_secret=secret), receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def create(client: OpenAI, content: bytes) -> openai.types.fine_tuning.FineTuningJob:
    file = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model="selftune/fake", training_file=file.id, hyperparameters={"n_epochs": 1}
    )


def delivered(receiver: Receiver, attempts: int) -> list[tuple[dict[str, str], str]]:
    """Wait for so many attempts; return them and forget them."""
    deadline = time.monotonic() + RETRY_SECONDS
    while len(receiver.got) < attempts:
        assert time.monotonic() < deadline, receiver.got
        time.sleep(0.05)
    got = receiver.got[:]
    receiver.got.clear()
    return got


def test_a_job_that_succeeds_is_announced_again_after_a_refusal(
    listening: tuple[OpenAI, Receiver],
) -> None:
    client, receiver = listening
    receiver.statuses = [500]
    job = ended(client, create(client, rows(12)))
    assert job.status == "succeeded"
    refused, accepted = delivered(receiver, 2)
    assert refused[0]["webhook-id"] == accepted[0]["webhook-id"]
    assert refused[1] == accepted[1]
    for headers, body in (refused, accepted):
        event = client.webhooks.unwrap(body, headers)
        assert event.type == "fine_tuning.job.succeeded"
        assert event.data.id == job.id
        assert event.id == headers["webhook-id"]


def test_a_job_that_fails_is_announced(listening: tuple[OpenAI, Receiver]) -> None:
    client, receiver = listening
    job = ended(client, create(client, rows(3)))
    assert job.status == "failed"
    ((headers, body),) = delivered(receiver, 1)
    event = client.webhooks.unwrap(body, headers)
    assert event.type == "fine_tuning.job.failed"
    assert event.data.id == job.id


def test_a_job_that_is_cancelled_is_announced(listening: tuple[OpenAI, Receiver]) -> None:
    client, receiver = listening
    job = create(client, rows(200))
    client.fine_tuning.jobs.cancel(job.id)
    ((headers, body),) = delivered(receiver, 1)
    event = client.webhooks.unwrap(body, headers)
    assert event.type == "fine_tuning.job.cancelled"
    assert event.data.id == job.id
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body + " ", headers)
