"""Every answer of a real server is as OpenAI's own API description says.

The last test counts which operations the others exercised: run this file as a whole.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Server
from tests.wire.spec.answers import Answers
from tests.wire.spec.operations import ours
from tests.wire.test_python_client import ENDED, rows

from selftune.store.accounts import DEFAULT_PROJECT

pytestmark = pytest.mark.xdist_group("server")
STEP_SECONDS = 0.02
"""Slow enough that a job can be paused while it runs."""
JOBS = "fine_tuning/jobs"
GRADERS = "fine_tuning/alpha/graders"
CHECK = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "operation": "eq",
}
REFUSED = {("post", "/responses/{}/cancel")}
"""Nothing is answered in the background, so nothing can be cancelled."""
STREAMED = {
    ("post", "/chat/completions"),
    ("post", "/completions"),
    ("post", "/responses"),
    ("get", "/responses/{}"),
}
CHAT = {"messages": [{"role": "user", "content": "question number 1"}]}


@pytest.fixture(scope="module")
def pace(start_server: Callable[..., Server]) -> Server:
    return start_server(
        SELFTUNE_FAKE_STEP_SECONDS=str(STEP_SECONDS),
        WANDB_MODE="disabled",  # a job here is for it, and nobody is there
    )


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers()


@pytest.fixture(scope="module")
def api(pace: Server, answers: Answers) -> Iterator[httpx.Client]:
    with answers.client(pace.base_url, pace.key) as client:
        yield client


@pytest.fixture(scope="module")
def training_file(api: httpx.Client) -> str:
    return str(upload(api, rows(20))["id"])


@pytest.fixture(scope="module")
def tuned(api: httpx.Client, training_file: str) -> dict[str, Any]:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    job = create(
        api,
        training_file=training_file,
        validation_file=training_file,
        method=method,
        suffix="described",
        seed=3,
        metadata={"team": "a"},
        integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": ["t"]}}],
    )
    return until(api, job, *ENDED)


def got(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def upload(api: httpx.Client, content: bytes, purpose: str = "fine-tune", **fields: str) -> Any:
    files = {"file": ("train.jsonl", content)}
    return got(api.post("files", data={"purpose": purpose, **fields}, files=files))


def create(api: httpx.Client, **body: Any) -> Any:
    return got(api.post(JOBS, json={"model": "selftune/fake"} | body))


def until(
    api: httpx.Client, job: dict[str, Any], *statuses: str, where: str = JOBS
) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while job["status"] not in statuses:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
        job = got(api.get(f"{where}/{job['id']}"))
    return job


@pytest.mark.parametrize(
    "purpose", ["fine-tune", "assistants", "batch", "user_data", "vision", "evals"]
)
def test_files(api: httpx.Client, purpose: str) -> None:
    expiry = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = upload(api, b"{}", purpose, **expiry)
    assert file["expires_at"] == file["created_at"] + 3600
    upload(api, b"{}", purpose)
    assert got(api.get("files", params={"purpose": purpose}))["data"]
    assert got(api.get("files", params={"limit": 1, "order": "asc"}))["has_more"]
    assert got(api.get("files", params={"after": file["id"], "order": "desc"}))["object"] == "list"
    assert got(api.get(f"files/{file['id']}")) == file
    assert api.get(f"files/{file['id']}/content").content == b"{}"
    assert got(api.delete(f"files/{file['id']}"))["deleted"]


def test_a_page_without_files(api: httpx.Client) -> None:
    assert got(api.get("files", params={"purpose": "nothing"}))["data"] == []


def test_uploads(api: httpx.Client) -> None:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 4, "mime_type": "text/jsonl"}
    opened = got(api.post("uploads", json=body))
    path = f"uploads/{opened['id']}"
    parts = [got(api.post(f"{path}/parts", files={"data": data})) for data in (b"{}", b"\n\n")]
    done = got(api.post(f"{path}/complete", json={"part_ids": [part["id"] for part in parts]}))
    assert done["file"]["bytes"] == 4
    assert got(api.post(f"{path}/cancel"), 400)["error"]["code"] == "upload_not_pending"
    other = got(api.post("uploads", json=body))
    assert got(api.post(f"uploads/{other['id']}/cancel"))["status"] == "cancelled"


def test_a_job_that_succeeds(api: httpx.Client, tuned: dict[str, Any]) -> None:
    assert tuned["status"] == "succeeded"
    path = f"{JOBS}/{tuned['id']}"
    assert got(api.get(f"{path}/events", params={"limit": 3}))["has_more"]
    kinds = {event["type"] for event in got(api.get(f"{path}/events?limit=100"))["data"]}
    assert kinds == {"message", "metrics"}
    checkpoints = got(api.get(f"{path}/checkpoints"))["data"]
    assert checkpoints[0]["fine_tuned_model_checkpoint"] == tuned["fine_tuned_model"]
    assert (
        got(api.get(f"{path}/checkpoints", params={"after": checkpoints[-1]["id"]}))["data"] == []
    )
    assert got(api.get(JOBS, params={"metadata[team]": "a"}))["data"] == [tuned]
    assert got(api.get(JOBS, params={"limit": 1}))["object"] == "list"
    results = tuned["result_files"][0]
    assert got(api.get(f"files/{results}"))["purpose"] == "fine-tune-results"


def test_a_job_with_hyperparameters_as_they_were_given_before_methods(
    api: httpx.Client, training_file: str
) -> None:
    numbers = {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    job = create(api, training_file=training_file, hyperparameters=numbers)
    assert job["hyperparameters"]["n_epochs"] == 1
    assert until(api, job, *ENDED)["status"] == "succeeded"


def test_a_job_that_fails(api: httpx.Client) -> None:
    job = create(api, training_file=upload(api, rows(3))["id"])
    assert until(api, job, *ENDED)["error"]["code"] == "invalid_n_examples"
    events = got(api.get(f"{JOBS}/{job['id']}/events"))["data"]
    assert "error" in {event["level"] for event in events}


def test_a_job_that_is_paused_resumed_and_cancelled(api: httpx.Client, training_file: str) -> None:
    job = create(api, training_file=training_file, hyperparameters={"n_epochs": 50})
    path = f"{JOBS}/{job['id']}"
    until(api, job, "running")
    assert got(api.post(f"{path}/pause"))["status"] in ("pausing", "paused")
    until(api, job, "paused")
    assert got(api.get(f"{path}/checkpoints"))["object"] == "list"
    assert got(api.post(f"{path}/resume"))["status"] == "queued"
    got(api.post(f"{path}/cancel"))
    until(api, job, "cancelled")
    assert got(api.post(f"{path}/cancel"), 400)["error"]["type"] == "invalid_request_error"


def test_permissions(api: httpx.Client, tuned: dict[str, Any]) -> None:
    path = f"fine_tuning/checkpoints/{tuned['fine_tuned_model']}/permissions"
    assert got(api.get(path))["data"] == []
    granted = got(api.post(path, json={"project_ids": [DEFAULT_PROJECT]}))["data"]
    assert got(api.get(path, params={"order": "ascending", "limit": 1}))["data"] == granted
    assert got(api.delete(f"{path}/{granted[0]['id']}"))["deleted"]


def test_models(api: httpx.Client, training_file: str) -> None:
    names = [model["id"] for model in got(api.get("models"))["data"]]
    for name in names:
        assert got(api.get(f"models/{name}"))["id"] == name
    job = create(api, training_file=training_file, hyperparameters={"n_epochs": 1})
    model = until(api, job, *ENDED)["fine_tuned_model"]
    assert got(api.get(f"models/{model}"))["id"] == model
    assert got(api.delete(f"models/{model}"))["deleted"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 3, "temperature": 0, "seed": 1, "stop": ["number"], "user": "u"},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 5, "n": 2},
        {"max_completion_tokens": 1},
        {"max_tokens": 1, "logit_bias": {"50256": -100}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": True, "with_usage": True}])
def test_chat(
    api: httpx.Client, tuned: dict[str, Any], options: dict[str, Any], stream: dict[str, bool]
) -> None:
    body = CHAT | {"model": tuned["fine_tuned_model"]} | options | asked(stream)
    assert api.post("chat/completions", json=body).status_code == 200


def test_stored_chats(api: httpx.Client) -> None:
    path, metadata = "chat/completions", {"openapi": "described"}
    said = {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}]}
    body = {"model": "selftune/fake", "messages": [said], "store": True, "metadata": metadata}
    names = [got(api.post(path, json=body | more))["id"] for more in ({}, {"logprobs": True})]
    for query in ({"limit": 1}, {"after": names[0], "order": "asc"}, {"metadata[openapi]": "no"}):
        assert got(api.get(path, params=query))["object"] == "list"
    assert got(api.get(f"{path}/{names[0]}"))["metadata"] == metadata
    assert got(api.post(f"{path}/{names[0]}", json={"metadata": {}}))["metadata"] == {}
    assert got(api.get(f"{path}/{names[0]}/messages"))["data"][0]["name"] == "ann"
    assert got(api.delete(f"{path}/{names[0]}"))["deleted"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"instructions": "Be kind.", "metadata": {"a": "b"}, "user": "u", "temperature": 0},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"max_output_tokens": 16, "reasoning": {"effort": "low"}, "text": {"verbosity": "low"}},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
    ],
)
def test_responses(api: httpx.Client, options: dict[str, Any]) -> None:
    body = {"model": "selftune/fake", "input": "a " * 40} | options
    assert api.post("responses", json=body | {"stream": True}).status_code == 200
    first = got(api.post("responses", json=body))
    path = f"responses/{first['id']}"
    assert got(api.get(path)) == first
    assert api.get(path, params={"stream": "true"}).status_code == 200
    more = got(api.post("responses", json=body | {"previous_response_id": first["id"]}))
    items = got(api.get(f"responses/{more['id']}/input_items", params={"order": "asc"}))
    assert [item["role"] for item in items["data"]] == ["user", "assistant", "user"]
    assert got(api.post(f"{path}/cancel"), 400)["error"]["message"]
    assert got(api.delete(path))["deleted"]


def test_evals(api: httpx.Client) -> None:
    check = CHECK | {"reference": "{{ item.a }}"}
    judge: dict[str, Any] = {"type": "label_model", "name": "tone", "model": "gpt-4o"}
    judge |= {"labels": ["a", "b"], "passing_labels": ["a"]}
    judge |= {"input": [{"role": "user", "content": "{{ item.a }}"}]}
    config = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}
    body = {"name": "n", "data_source_config": config, "testing_criteria": [check, judge]}
    path = f"evals/{got(api.post('evals', json=body), 201)['id']}"
    got(api.post("evals", json=body | {"data_source_config": {"type": "logs"}}), 201)
    assert got(api.get("evals", params={"order_by": "updated_at", "order": "desc"}))["data"]
    assert got(api.post(path, json={"name": "m", "metadata": {"a": "b"}}))["name"] == "m"
    assert got(api.get(path))["metadata"] == {"a": "b"}
    rows = [{"item": {"a": text}, "sample": {"output_text": "x"}} for text in ("x", "y")]
    given = {"type": "jsonl", "source": {"type": "file_content", "content": rows}}
    ask = {"type": "template", "template": [{"role": "user", "content": "{{ item.a }}"}]}
    made = [
        got(api.post(f"{path}/runs", json={"data_source": source}), 201)
        for source in (
            given,
            given
            | {"type": "completions", "model": "selftune/fake", "input_messages": ask}
            | {"sampling_params": {"temperature": 0, "max_completions_tokens": 5}},
            {"type": "responses", "source": {"type": "responses", "model": "nobody"}},
        )
    ]
    for run, status in zip(made, ("completed", "completed", "failed"), strict=True):
        where = f"{path}/runs/{run['id']}"
        assert until_over(api, where)["status"] == status
        items = got(api.get(f"{where}/output_items"))["data"]
        assert len(items) == (0 if status == "failed" else 2)
        for item in items:
            assert got(api.get(f"{where}/output_items/{item['id']}")) == item
        got(api.post(where), 400)
        got(api.post(f"{where}/cancel"), 400)
    assert len(got(api.get(f"{path}/runs"))["data"]) == 3
    for ending in ("", "/cancel"):
        run = got(api.post(f"{path}/runs", json={"data_source": given}), 201)
        canceled = api.post(f"{path}/runs/{run['id']}{ending}")
        assert canceled.status_code == 400 or got(canceled)["status"] == "canceled"
    got(api.delete(f"{path}/runs/{made[0]['id']}"))
    got(api.delete(path))


def batch_of(api: httpx.Client, content: bytes) -> dict[str, Any]:
    file = upload(api, content, "batch")
    where = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return {"input_file_id": file["id"]} | where


def test_batches(api: httpx.Client) -> None:
    url = "/v1/chat/completions"
    lines = [
        {"custom_id": str(n), "method": "POST", "url": url, "body": CHAT | {"model": model}}
        for n, model in enumerate(("selftune/fake", "selftune/fake", "nope"))
    ]
    ended = []
    for some in (lines[:2], lines[2:], lines):
        content = "\n".join(json.dumps(line) for line in some).encode()
        made = got(api.post("batches", json=batch_of(api, content) | {"metadata": {"a": "b"}}))
        ended.append(until(api, made, "completed", "failed", where="batches"))
        got(api.post(f"batches/{made['id']}/cancel"), 409)
    assert [batch["status"] for batch in ended] == ["completed", "completed", "failed"]
    assert ended[2]["errors"]["data"][0]["line"] == 3
    listed = got(api.get("batches", params={"limit": 2}))
    assert listed["data"] == [ended[2], ended[1]]
    assert listed["has_more"]
    running = got(api.post("batches", json=batch_of(api, b"{}")))
    canceled = api.post(f"batches/{running['id']}/cancel")
    assert canceled.status_code == 409 or got(canceled)["status"] in ("cancelling", "cancelled")


def until_over(api: httpx.Client, path: str) -> Any:
    deadline = time.monotonic() + 60
    while (run := got(api.get(path)))["status"] in ("queued", "in_progress"):
        assert time.monotonic() < deadline, run
        time.sleep(0.05)
    return run


def asked(stream: dict[str, bool]) -> dict[str, Any]:
    if "with_usage" in stream:
        return {"stream": True, "stream_options": {"include_usage": True}}
    return stream


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 2, "echo": True, "logprobs": 2},
        {"prompt": ["question number 1", "x"], "max_tokens": 1},
        {"prompt": [9906, 1917], "logprobs": 0},
    ],
)
@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": True, "with_usage": True}])
def test_completions(
    api: httpx.Client, tuned: dict[str, Any], options: dict[str, Any], stream: dict[str, bool]
) -> None:
    body = {"model": tuned["fine_tuned_model"], "prompt": "question number 1"}
    assert api.post("completions", json=body | options | asked(stream)).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"input": ["a", "b"]},
        {"input": [9906, 1917]},
        {"dimensions": 8},
        {"encoding_format": "base64"},
    ],
)
def test_embeddings(api: httpx.Client, options: dict[str, Any]) -> None:
    found = got(api.post("embeddings", json={"model": "selftune/fake", "input": "a cat"} | options))
    assert found["data"]


@pytest.mark.parametrize("reference", ["{{ item.label }}", "{{ item.nothing }}"])
def test_graders(api: httpx.Client, reference: str) -> None:
    grader = CHECK | {"reference": reference}
    assert got(api.post(f"{GRADERS}/validate", json={"grader": grader}))["grader"] == grader
    parts = {"type": "multi", "name": "all", "graders": grader, "calculate_output": "2 * same"}
    for each in (grader, parts):
        body = {"grader": each, "model_sample": "a", "item": {"label": "a"}}
        assert got(api.post(f"{GRADERS}/run", json=body))["metadata"]["type"] == each["type"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("PUT", "files", None, 405),
        ("GET", "files/file-nope", None, 404),
        ("DELETE", "files/file-nope", None, 404),
        ("GET", "files/file-nope/content", None, 404),
        ("GET", "files?limit=many", None, 400),
        ("GET", "files?after=file-nope", None, 400),
        ("POST", "files", None, 400),
        ("POST", "uploads", {"filename": "a"}, 400),
        ("POST", "uploads/upload_nope/parts", None, 404),
        ("POST", "uploads/upload_nope/complete", {"part_ids": []}, 404),
        ("POST", "uploads/upload_nope/cancel", None, 404),
        ("POST", JOBS, {"model": "selftune/fake"}, 400),
        ("POST", JOBS, {"model": "nope", "training_file": "file-nope"}, 400),
        ("GET", f"{JOBS}?after=ftjob-nope", None, 400),
        ("GET", f"{JOBS}/ftjob-nope", None, 404),
        ("GET", f"{JOBS}/ftjob-nope/events", None, 404),
        ("GET", f"{JOBS}/ftjob-nope/checkpoints", None, 404),
        ("POST", f"{JOBS}/ftjob-nope/cancel", None, 404),
        ("POST", f"{JOBS}/ftjob-nope/pause", None, 404),
        ("POST", f"{JOBS}/ftjob-nope/resume", None, 404),
        ("GET", "fine_tuning/checkpoints/nope/permissions", None, 404),
        ("POST", "fine_tuning/checkpoints/nope/permissions", {"project_ids": ["p"]}, 404),
        ("DELETE", "fine_tuning/checkpoints/nope/permissions/cp_nope", None, 404),
        ("POST", f"{GRADERS}/validate", {"grader": CHECK}, 400),
        ("POST", f"{GRADERS}/run", {"grader": {"type": "nope"}, "model_sample": "a"}, 400),
        ("GET", "models/nope", None, 404),
        ("DELETE", "models/nope", None, 404),
        ("DELETE", "models/selftune/fake", None, 400),
        ("POST", "chat/completions", {"model": "selftune/fake", "messages": []}, 400),
        ("POST", "chat/completions", CHAT | {"model": "nope"}, 404),
        ("GET", "chat/completions?after=chatcmpl-nope", None, 400),
        ("GET", "chat/completions/chatcmpl-nope", None, 404),
        ("POST", "chat/completions/chatcmpl-nope", {"metadata": {}}, 404),
        ("DELETE", "chat/completions/chatcmpl-nope", None, 404),
        ("GET", "chat/completions/chatcmpl-nope/messages", None, 404),
        ("POST", "responses", {"model": "nope", "input": "a"}, 404),
        ("POST", "responses", {"model": "selftune/fake"}, 400),
        ("GET", "responses/resp_nope", None, 404),
        ("DELETE", "responses/resp_nope", None, 404),
        ("POST", "responses/resp_nope/cancel", None, 404),
        ("GET", "responses/resp_nope/input_items", None, 404),
        ("GET", "evals/nope", None, 404),
        ("POST", "evals", {}, 400),
        ("POST", "evals/nope/runs", {"data_source": {}}, 404),
        ("GET", "evals/nope/runs/nope", None, 404),
        ("DELETE", "evals/nope", None, 404),
        ("GET", "batches/nope", None, 404),
        ("GET", "batches?after=nope", None, 400),
        ("POST", "batches", {"endpoint": "/v1/files"}, 400),
        ("POST", "batches/nope/cancel", None, 404),
        ("POST", "completions", {"model": "nope"}, 404),
        ("POST", "embeddings", {"model": "selftune/fake", "input": ""}, 400),
        ("POST", "embeddings", {"model": "nope", "input": "a"}, 404),
    ],
)
def test_errors(api: httpx.Client, method: str, path: str, body: Any, status: int) -> None:
    got(api.request(method, path, json=body), status)


def test_every_operation_asks_for_a_key(pace: Server, answers: Answers) -> None:
    for key in (None, "sk-wrong"):
        with answers.client(pace.base_url, key) as stranger:
            for method, path in ours():
                reply = stranger.request(method, path.replace("{}", "x").lstrip("/"))
                assert reply.status_code == 401


def test_every_operation_is_described_and_was_exercised(answers: Answers) -> None:
    assert ours() == answers.described.keys(), "run tests/wire/spec/reduce.py"
    assert {operation for operation, status in answers.seen if status < 300} == ours() - REFUSED
    assert answers.chunks.keys() == STREAMED


FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 1,
    "created_at": 1,
    "filename": "a",
    "purpose": "fine-tune",
    "status": "processed",
}
EVENTS = {"content-type": "text/event-stream"}


def answered(path: str, status: int = 200, **content: Any) -> httpx.Response:
    request = httpx.Request("POST" if "completions" in path else "GET", f"http://x/v1/{path}")
    return httpx.Response(status, request=request, **content)


@pytest.mark.parametrize(
    "wrong",
    [
        answered("files/file-1", json=FILE | {"bytes": "1"}),
        answered("files/file-1", json=FILE | {"purpose": "fun"}),
        answered("files/file-1", json={name: FILE[name] for name in FILE if name != "filename"}),
        answered("files/file-1", 201, json=FILE),
        answered("files/file-1", 404, json={"error": {"message": "no", "type": "t"}}),
        answered("files/file-1", 404, json={"detail": "Not Found"}),
        answered("nothing", json={}),
        answered("completions", text="data: {}\n\ndata: [DONE]\n\n", headers=EVENTS),
        answered("chat/completions", text="data: [DONE]\n", headers=EVENTS),
    ],
)
def test_a_wrong_answer_is_noticed(wrong: httpx.Response) -> None:
    Answers().check(answered("files/file-1", json=FILE))
    with pytest.raises(AssertionError):
        Answers().check(wrong)
