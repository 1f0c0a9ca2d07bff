"""Whole flows by the official Python client, with strict response validation."""

import asyncio
import base64
import json
import time
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob
from tests.wire.conftest import Server

pytestmark = pytest.mark.xdist_group("server")
ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=server.key, _strict_response_validation=True)


def rows(count: int, labels: int = 3) -> bytes:
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"question number {index}"},
                {"role": "assistant", "content": f"label {index % labels}"},
            ]
        }
        for index in range(count)
    ]
    return "\n".join(json.dumps(chat) for chat in chats).encode()


def ended(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    deadline = time.monotonic() + 120
    while job.status not in ENDED:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return job


@pytest.fixture(scope="module")
def tuned(client: OpenAI) -> FineTuningJob:
    file = client.files.create(file=("train.jsonl", rows(20)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="selftune/fake",
        training_file=file.id,
        suffix="My Suffix",
        seed=7,
        metadata={"team": "a"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}},
    )
    assert job.status == "validating_files"
    assert job.fine_tuned_model is None
    return ended(client, job)


def test_a_job_trains_and_says_so_in_openais_words(client: OpenAI, tuned: FineTuningJob) -> None:
    assert tuned.status == "succeeded"
    assert tuned.hyperparameters.n_epochs == 4
    assert tuned.seed == 7
    assert (tuned.trained_tokens or 0) > 0
    assert str(tuned.fine_tuned_model).split(":")[:4] == [
        "ft",
        "selftune-fake",
        "selftune",
        "my-suffix",
    ]
    events = [event.message for event in client.fine_tuning.jobs.list_events(tuned.id, limit=7)]
    assert events[-1] == f"Created fine-tuning job: {tuned.id}"
    assert events[0] == "The job has successfully completed"
    assert events[1] == f"New fine-tuned model created: {tuned.fine_tuned_model}"
    assert "Files validated, moving job to queued state" in events
    assert len(events) == len(set(events))


def test_the_last_three_checkpoints_are_there_and_answer(
    client: OpenAI, tuned: FineTuningJob
) -> None:
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(tuned.id))
    assert [c.step_number for c in checkpoints] == [20, 15, 10]
    assert checkpoints[0].fine_tuned_model_checkpoint == tuned.fine_tuned_model
    name = checkpoints[1].fine_tuned_model_checkpoint
    assert name.endswith(":ckpt-step-15")
    assert ask(client, name, "question number 1") == "label 1"


def ask(client: OpenAI, model: str, text: str, **options: Any) -> str:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **options
    )
    return str(answer.choices[0].message.content)


def test_the_result_file_is_a_csv_in_base64(client: OpenAI, tuned: FineTuningJob) -> None:
    text = base64.b64decode(client.files.content(tuned.result_files[0]).read()).decode()
    header = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert text.splitlines()[0] == header
    assert len(text.splitlines()) == 21


def test_chat_streams_with_usage_and_logprobs(client: OpenAI, tuned: FineTuningJob) -> None:
    stream = client.chat.completions.create(
        model=str(tuned.fine_tuned_model),
        messages=[{"role": "user", "content": "question number 2"}],
        stream=True,
        stream_options={"include_usage": True},
        logprobs=True,
        top_logprobs=2,
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "label 2"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_jobs_are_found_by_metadata(client: OpenAI, tuned: FineTuningJob) -> None:
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"team": "a"})] == [tuned.id]
    assert list(client.fine_tuning.jobs.list(metadata={"team": "b"})) == []


def test_bad_data_fails_the_job_and_not_the_create(client: OpenAI) -> None:
    file = client.files.create(file=("few.jsonl", rows(7)), purpose="fine-tune")
    job = ended(client, client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "invalid_n_examples"
    assert job.error.message == (
        "Training file has 7 example(s), but must have at least 10 examples"
    )
    assert job.model == "gpt-4o-mini-2024-07-18"


def test_the_embedded_model_learns_labels(client: OpenAI) -> None:
    chats = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": label}]}
        for topic, label in (("the weather is {}", "weather"), ("the train is {}", "travel"))
        for text in (topic.format(word) for word in ("late", "fine", "bad", "slow", "great", "new"))
    ]
    content = "\n".join(json.dumps(chat) for chat in chats).encode()
    file = client.files.create(file=("topics.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=file.id, hyperparameters={"n_epochs": 3}
    )
    job = ended(client, job)
    assert job.status == "succeeded", job.error
    assert (
        ask(client, str(job.fine_tuned_model), "the train is punctual", temperature=0) == "travel"
    )


def test_files_and_models_come_and_go(client: OpenAI) -> None:
    file = client.files.create(file=("a b.jsonl", b"{}"), purpose="user_data")
    assert client.files.content(file.id).read() == b"{}"
    assert client.files.delete(file.id).deleted
    with pytest.raises(NotFoundError, match=f"No such File object: {file.id}"):
        client.files.retrieve(file.id)
    names = {model.id for model in client.models.list()}
    assert {"selftune/minilm", "gpt-4o-mini-2024-07-18"} <= names
    with pytest.raises(BadRequestError, match="only fine-tuned models can be deleted"):
        client.models.delete("selftune/minilm")


def test_an_unknown_model_is_refused_in_the_words_that_programs_match(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="The model `nope` does not exist") as refused:
        ask(client, "nope", "hello")
    assert refused.value.code == "model_not_found"


def test_a_large_file_arrives_in_parts(client: OpenAI) -> None:
    data = rows(200)
    upload = client.uploads.create(
        filename="large.jsonl", purpose="fine-tune", bytes=len(data), mime_type="text/jsonl"
    )
    half = len(data) // 2
    parts = [
        client.uploads.parts.create(upload.id, data=piece) for piece in (data[:half], data[half:])
    ]
    done = client.uploads.complete(upload.id, part_ids=[part.id for part in parts])
    assert done.file is not None
    assert client.files.content(done.file.id).read() == data


def test_embeddings_have_the_asked_length(server: Server) -> None:
    client = OpenAI(base_url=server.base_url, api_key=server.key)
    found = client.embeddings.create(
        model="text-embedding-3-small", input=["a cat", "a dog"], dimensions=64
    )
    assert [len(entry.embedding) for entry in found.data] == [64, 64]
    assert sum(value * value for value in found.data[0].embedding) == pytest.approx(1, abs=1e-4)


def test_the_async_client_works_too(server: Server, tuned: FineTuningJob) -> None:
    async def many() -> list[str | None]:
        async with AsyncOpenAI(base_url=server.base_url, api_key=server.key) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=str(tuned.fine_tuned_model),
                        messages=[{"role": "user", "content": f"question number {n}"}],
                    )
                    for n in range(20)
                )
            )
        return [answer.choices[0].message.content for answer in answers]

    assert asyncio.run(many()) == [f"label {n % 3}" for n in range(20)]


def test_a_base_url_without_its_last_slash_works(server: Server) -> None:
    import httpx

    answer = httpx.get(
        f"{server.base_url}models", headers={"authorization": f"Bearer {server.key}"}
    )
    assert answer.status_code == 200
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/files", 405), ("POST", "/chat/completions", 400)],
)
def test_every_error_has_openais_envelope(
    server: Server, method: str, path: str, status: int
) -> None:
    import httpx

    answer = httpx.request(
        method,
        server.base_url + path,
        headers={"authorization": f"Bearer {server.key}"},
        content=b'{"model": 3}' if method == "POST" else None,
    )
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_without_a_key_nothing_is_said(server: Server) -> None:
    import httpx

    assert httpx.get(f"{server.base_url}/models").status_code == 401
    wrong = {"authorization": "Bearer sk-wrong"}
    answer = httpx.get(f"{server.base_url}/models", headers=wrong)
    assert answer.json()["error"]["code"] == "invalid_api_key"
