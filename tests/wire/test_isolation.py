"""A key sees its own project, and nothing of a request reaches a path."""

import json
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI, OpenAIError
from tests.wire.conftest import Server
from tests.wire.test_python_client import rows

from selftune.core.settings import child_environment, load_settings

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def stranger(server: Server) -> OpenAI:
    made = subprocess.run(
        [sys.executable, "-m", "selftune", "keys", "create", "other", "--project", "other"],
        env=child_environment(load_settings(home=server.home)),
        capture_output=True,
        text=True,
        check=True,
    )
    return OpenAI(base_url=server.base_url, api_key=made.stdout.strip(), max_retries=0)


def test_another_project_sees_no_file_and_no_job(server: Server, stranger: OpenAI) -> None:
    owner = OpenAI(base_url=server.base_url, api_key=server.key)
    file = owner.files.create(file=("train.jsonl", rows(12)), purpose="fine-tune")
    job = owner.fine_tuning.jobs.create(model="selftune/fake", training_file=file.id)
    looks: tuple[Callable[[], object], ...] = (
        lambda: stranger.files.retrieve(file.id),
        lambda: stranger.files.content(file.id),
        lambda: stranger.files.delete(file.id),
        lambda: stranger.fine_tuning.jobs.retrieve(job.id),
        lambda: stranger.fine_tuning.jobs.cancel(job.id),
        lambda: stranger.fine_tuning.jobs.list_events(job.id),
        lambda: stranger.fine_tuning.jobs.checkpoints.list(job.id),
    )
    for look in looks:
        with pytest.raises(NotFoundError):
            look()
    with pytest.raises(OpenAIError, match="does not exist"):
        stranger.fine_tuning.jobs.create(model="selftune/fake", training_file=file.id)
    assert list(stranger.files.list()) == []
    assert list(stranger.fine_tuning.jobs.list()) == []


def test_another_project_sees_no_stored_chat(server: Server, stranger: OpenAI) -> None:
    owner = OpenAI(base_url=server.base_url, api_key=server.key)
    chat = owner.chat.completions.create(
        model="selftune/fake", messages=[{"role": "user", "content": "a"}], store=True
    )
    looks: tuple[Callable[[], object], ...] = (
        lambda: stranger.chat.completions.retrieve(chat.id),
        lambda: stranger.chat.completions.update(chat.id, metadata={"a": "b"}),
        lambda: stranger.chat.completions.messages.list(chat.id),
        lambda: stranger.chat.completions.delete(chat.id),
    )
    for look in looks:
        with pytest.raises(NotFoundError):
            look()
    assert list(stranger.chat.completions.list()) == []
    with pytest.raises(OpenAIError, match="no stored completion"):
        stranger.chat.completions.list(after=chat.id)
    assert owner.chat.completions.retrieve(chat.id).to_dict()["metadata"] == {}


def test_another_project_sees_no_batch(server: Server, stranger: OpenAI) -> None:
    owner = OpenAI(base_url=server.base_url, api_key=server.key)
    file = owner.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    batch = owner.batches.create(
        input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
    )
    looks: tuple[Callable[[], object], ...] = (
        lambda: stranger.batches.retrieve(batch.id),
        lambda: stranger.batches.cancel(batch.id),
    )
    for look in looks:
        with pytest.raises(NotFoundError):
            look()
    assert list(stranger.batches.list()) == []
    with pytest.raises(BadRequestError, match="No batch found"):
        stranger.batches.list(after=batch.id)
    stolen = stranger.batches.create(
        input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
    )
    while (stolen := stranger.batches.retrieve(stolen.id)).status == "validating":
        time.sleep(0.05)
    assert stolen.status == "failed"
    assert "Cannot find file" in stolen.model_dump_json()


def test_another_project_sees_no_response(server: Server, stranger: OpenAI) -> None:
    owner = OpenAI(base_url=server.base_url, api_key=server.key)
    found = owner.responses.create(model="selftune/fake", input="a")
    looks: tuple[Callable[[], object], ...] = (
        lambda: stranger.responses.retrieve(found.id),
        lambda: stranger.responses.input_items.list(found.id),
        lambda: stranger.responses.cancel(found.id),
        lambda: stranger.responses.delete(found.id),
    )
    for look in looks:
        with pytest.raises(NotFoundError):
            look()
    with pytest.raises(BadRequestError, match="not found"):
        stranger.responses.create(model="selftune/fake", input="a", previous_response_id=found.id)
    assert owner.responses.retrieve(found.id).output_text == found.output_text


@pytest.mark.parametrize("name", ["../../../etc/passwd.jsonl", "a\\..\\b.jsonl", "ü \u202e.jsonl"])
def test_a_filename_is_kept_and_never_used(server: Server, name: str) -> None:
    client = OpenAI(base_url=server.base_url, api_key=server.key)
    file = client.files.create(file=(name, b"{}"), purpose="fine-tune")
    assert client.files.retrieve(file.id).filename == name
    assert client.files.content(file.id).read() == b"{}"
    assert not list(server.home.rglob("passwd*"))


@pytest.mark.parametrize(
    "path", ["/files/..%2F..%2Fselftune.db/content", "/models/ft:..%2F..:x:y:z", "/files/%00"]
)
def test_an_id_is_looked_up_and_never_opened(server: Server, path: str) -> None:
    headers = {"authorization": f"Bearer {server.key}"}
    assert httpx.get(server.base_url + path, headers=headers).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model": "' + b"x" * 400 + b'", "training_file": "f"}',
        b'{"model": "gpt-4o", "training_file": "\\u0000"}',
        b'{"model": "gpt-4o", "training_file": "f", "seed": 99999999999999999999999}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        json.dumps(
            {"model": "gpt-4o", "training_file": "f", "metadata": {"k": "v" * 600}}
        ).encode(),
    ],
)
def test_a_bad_create_is_a_400_in_the_envelope(server: Server, body: bytes) -> None:
    answer = httpx.post(
        f"{server.base_url}/fine_tuning/jobs",
        headers={"authorization": f"Bearer {server.key}", "content-type": "application/json"},
        content=body,
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_body_that_is_too_large_is_refused(server: Server) -> None:
    answer = httpx.post(
        f"{server.base_url}/chat/completions",
        headers={"authorization": f"Bearer {server.key}"},
        content=b" " * (17 * 1024 * 1024),
    )
    assert answer.status_code == 413


def test_a_blind_retry_of_a_create_makes_one_job(server: Server) -> None:
    client = OpenAI(base_url=server.base_url, api_key=server.key)
    file = client.files.create(file=("train.jsonl", rows(12)), purpose="fine-tune")
    body = {"model": "selftune/fake", "training_file": file.id, "suffix": "once"}
    headers = {"authorization": f"Bearer {server.key}"}
    url = f"{server.base_url}/fine_tuning/jobs"
    first, again, new = (
        httpx.post(url, json=body, headers=headers | {"x-stainless-retry-count": count}).json()
        for count in ("0", "1", "0")
    )
    assert first["id"] == again["id"]
    assert new["id"] != first["id"]
