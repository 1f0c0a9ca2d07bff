"""A program that used OpenAI's Batch API, against a real server, with the official client."""

import json
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import httpx
import pytest
from openai import ConflictError, OpenAI
from openai.types import Batch as RemoteBatch
from tests.serve.test_webhooks import Receiver
from tests.wire.conftest import Server
from tests.wire.model_stub import ModelStub, name_models, playing

from selftune.models.answers import question
from selftune.models.batching import Batch, Waiting, ask_by_batch
from selftune.models.endpoint import Endpoint

pytestmark = pytest.mark.xdist_group("server")
OVER = ("completed", "failed", "expired", "cancelled")
NAMED_BY_CHANCE = {"id", "created", "created_at", "completed_at", "request_id"}
BODIES: dict[str, list[dict[str, Any]]] = {
    "chat/completions": [
        {"messages": [{"role": "user", "content": "a"}], "logprobs": True, "n": 2},
        {"messages": [{"role": "user", "content": "ü 😀"}], "max_tokens": 3, "stop": ["x"]},
        {"messages": [{"role": "user", "content": "a"}], "temperature": 9},
        {"messages": []},
        {"messages": [{"role": "user", "content": "a"}], "tools": [{}]},
    ],
    "completions": [
        {"prompt": ["a", "b"], "logprobs": 2, "echo": True},
        {"prompt": "a", "logprobs": 9},
    ],
    "embeddings": [{"input": ["a", "b"]}, {"input": "a", "dimensions": 2}, {"input": ""}],
    "responses": [
        {"input": "a", "instructions": "b", "metadata": {"c": "d"}},
        {"input": "a", "previous_response_id": "resp_nope"},
        {"input": "a", "background": True},
    ],
}


def hosted(body: dict[str, Any]) -> str | int:
    asked = str(body["messages"][-1]["content"])
    return 400 if asked == "refuse" else asked.upper()


@pytest.fixture(scope="module")
def stub() -> Iterator[ModelStub]:
    with playing(hosted) as played:
        yield played


@pytest.fixture(scope="module")
def serving(start_server: Callable[..., Server], stub: ModelStub) -> Server:
    server = start_server(SELFTUNE_REQUESTS_PER_MINUTE="600")
    name_models(server.home, stub, "hosted")
    return server


@pytest.fixture
def client(serving: Server) -> OpenAI:
    return OpenAI(base_url=serving.base_url, api_key=serving.key, _strict_response_validation=True)


def create(client: OpenAI, path: str, bodies: list[dict[str, Any]], **more: Any) -> RemoteBatch:
    lines = [
        {"custom_id": f"r{n}", "method": "POST", "url": f"/v1/{path}", "body": body}
        for n, body in enumerate(bodies)
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("asked.jsonl", content), purpose="batch")
    url: Any = f"/v1/{path}"
    return client.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h", **more
    )


def until(client: OpenAI, batch: RemoteBatch, reached: Callable[[RemoteBatch], Any]) -> RemoteBatch:
    deadline = time.monotonic() + 60
    while not reached(batch):
        assert time.monotonic() < deadline, batch
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    return batch


def over(client: OpenAI, batch: RemoteBatch) -> RemoteBatch:
    return until(client, batch, lambda now: now.status in OVER)


def completed(batch: RemoteBatch) -> int:
    assert batch.request_counts is not None
    return batch.request_counts.completed


def told(client: OpenAI, *file_ids: str | None) -> dict[str, Any]:
    """Return the lines of files by their custom_id."""
    lines = [
        json.loads(line)
        for file_id in file_ids
        if file_id is not None
        for line in client.files.content(file_id).text.splitlines()
    ]
    return {line["custom_id"]: line for line in lines}


def lasting(value: Any) -> Any:
    """Return an answer without what no two answers have alike."""
    if isinstance(value, list):
        return [lasting(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: lasting(each) for name, each in value.items() if name not in NAMED_BY_CHANCE}


@pytest.mark.parametrize("path", BODIES)
def test_each_request_is_answered_as_the_same_post_would_be(
    serving: Server, client: OpenAI, path: str
) -> None:
    bodies = [{"model": "selftune/fake"} | body for body in BODIES[path]]
    batch = over(client, create(client, path, bodies))
    lines = told(client, batch.output_file_id, batch.error_file_id)
    headers = {"authorization": f"Bearer {serving.key}"}
    assert len(lines) == len(bodies)
    for n, body in enumerate(bodies):
        posted = httpx.post(f"{serving.base_url}/{path}", json=body, headers=headers, timeout=30)
        response = lines[f"r{n}"]["response"]
        assert response["status_code"] == posted.status_code
        assert response["request_id"].startswith("req_")
        assert lasting(response["body"]) == lasting(posted.json())
    assert batch.request_counts is not None
    refused = 1 if path in ("completions", "embeddings") else 2
    assert batch.request_counts.failed >= refused
    assert batch.request_counts.completed + batch.request_counts.failed == len(bodies)


def test_a_chat_that_a_batch_asked_to_store_is_found_in_its_project(client: OpenAI) -> None:
    body = {
        "model": "selftune/fake",
        "messages": [{"role": "user", "content": "kept"}],
        "store": True,
        "metadata": {"from": "batch"},
    }
    over(client, create(client, "chat/completions", [body]))
    [kept] = client.chat.completions.list(metadata={"from": "batch"})
    assert client.chat.completions.retrieve(kept.id).id == kept.id


def test_an_endpoint_answers_and_a_batch_is_no_part_of_the_rate_limit(
    client: OpenAI, stub: ModelStub
) -> None:
    asked = [f"question {n}" for n in range(1000)] + ["refuse"]
    bodies = [{"model": "hosted", "messages": [{"role": "user", "content": a}]} for a in asked]
    batch = over(client, create(client, "chat/completions", bodies, metadata={"a": "b"}))
    assert batch.status == "completed"
    assert (batch.model, batch.metadata) == ("hosted", {"a": "b"})
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1000, 1)
    assert batch.usage is not None
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (7000, 3000)
    lines = told(client, batch.output_file_id)
    said = lines["r999"]["response"]["body"]["choices"][0]["message"]["content"]
    assert said == "QUESTION 999"
    assert batch.output_file_id is not None
    file = client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    [refused] = told(client, batch.error_file_id).values()
    assert refused["response"]["status_code"] == 400


def test_a_cancel_takes_seconds_and_keeps_what_was_answered(
    client: OpenAI, stub: ModelStub
) -> None:
    stub.seconds = 0.2
    try:
        bodies = [
            {"model": "hosted", "messages": [{"role": "user", "content": f"slow {n}"}]}
            for n in range(5000)
        ]
        batch = create(client, "chat/completions", bodies)
        until(client, batch, lambda now: completed(now) > 50)
        assert client.batches.cancel(batch.id).status == "cancelling"
        ended = over(client, batch)
    finally:
        stub.seconds = 0.0
    assert ended.status == "cancelled"
    assert ended.cancelling_at is not None
    assert ended.cancelled_at is not None
    assert ended.cancelled_at - ended.cancelling_at <= 5
    assert len(told(client, ended.output_file_id)) == completed(ended) > 50
    assert completed(ended) < 5000
    assert client.batches.cancel(batch.id) == ended


def test_the_ends_of_batches_are_announced(start_server: Callable[..., Server]) -> None:
    server = start_server()
    receiver = Receiver()
    Thread(target=receiver.server.serve_forever, args=(0.02,), daemon=True).start()
    secret = server.selftune("webhooks", "add", receiver.url).split()[1]
    client = OpenAI(base_url=server.base_url, api_key=server.key, webhook_secret=secret)
    good = {"model": "selftune/fake", "messages": [{"role": "user", "content": "a"}]}
    for bodies, status in (([good], "completed"), ([], "failed")):
        batch = over(client, create(client, "chat/completions", bodies))
        assert batch.status == status
        deadline = time.monotonic() + 30
        while not receiver.got:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        headers, body = receiver.got.pop()
        event = client.webhooks.unwrap(body, headers)
        assert event.type == f"batch.{status}"
        assert json.loads(body)["data"] == {"id": batch.id}
        with pytest.raises(ConflictError, match=f"with status '{status}'"):
            client.batches.cancel(batch.id)
    receiver.server.shutdown()
    receiver.server.server_close()


class Notes:
    """A book of batches in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Batch] = {}

    def batch(self, key: str) -> Batch:
        return self.kept.get(key, Batch())

    def note_batch(self, key: str, batch: Batch) -> None:
        self.kept[key] = batch


def test_the_projects_own_client_gets_its_answers_in_order(
    serving: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THIS_SERVER", serving.key)
    endpoint = Endpoint(model="hosted", base_url=serving.base_url, api_key_variable="THIS_SERVER")
    texts = [f"own {n}" for n in range(20)] + ["refuse"]
    asked = [
        question({"model": "hosted", "messages": [{"role": "user", "content": text}]})
        for text in texts
    ]
    seen: list[tuple[int, int]] = []
    waiting = Waiting(poll_seconds=0.1, on_progress=lambda *counts: seen.append(counts))
    book = Notes()
    got = ask_by_batch(endpoint, "a key", asked, book, waiting)
    assert [answer.text for answer in got[:20]] == [text.upper() for text in texts[:20]]
    assert got[20].status == "rejected"
    assert seen[-1] == (21, 21)
    lost = Notes()  # it was killed before it could write down that there is a batch
    lost.note_batch("a key", Batch(book.kept["a key"].file_id))
    assert ask_by_batch(endpoint, "a key", asked, lost, waiting) == got
    assert lost.kept == book.kept
