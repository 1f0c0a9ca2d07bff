"""Batches at work: what is asked, what is kept, and how a batch ends. The API is played by a function."""

import asyncio
import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import OpenStore, stored_file

from selftune.core.errors import Conflict, LeaseLost
from selftune.core.records import Identity
from selftune.jobs.queue import Lease, claim
from selftune.serve.batches import answers, asking, lines
from selftune.serve.batches.answers import Reply
from selftune.serve.batches.create import BatchRequest, cancel_batch, create_batch, status_of
from selftune.serve.batches.run import carry_out
from selftune.store.accounts import DEFAULT_PROJECT, create_project, default_identity
from selftune.store.batches import Batch, get_batch
from selftune.store.creations import Creation
from selftune.store.files import delete_file, get_file, save_file
from selftune.store.store import Store
from selftune.store.webhooks import add_endpoint, claim_delivery

CHATS = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
DAY = 86_400


def line(name: Any, **changes: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": str(name)}]}
    entry = {"custom_id": name, "method": "POST", "url": CHATS, "body": body} | changes
    return json.dumps(entry).encode() + b"\n"


def many(count: int) -> bytes:
    return b"".join(line(f"r{n}") for n in range(count))


class Api:
    """Answers by the last message, and counts what it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked: Counter[str] = Counter()
        self.on_answer: Callable[[int], None] = lambda count: None

    async def ask(self, path: str, body: bytes) -> Reply:
        assert path == CHATS
        said = str(json.loads(body)["messages"][-1]["content"])
        self.asked[said] += 1
        self.on_answer(self.asked.total())
        await asyncio.sleep(0)
        status = self.statuses.pop(0) if self.statuses else 200
        usage = {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 1},
        }
        told = {"said": said, "usage": usage} if status == 200 else {"error": {"code": "no"}}
        return Reply(status, f"req_{said}", json.dumps(told, separators=(",", ":")).encode())


def started(store: Store, content: bytes, **changes: Any) -> tuple[Batch, Lease]:
    """Create a batch of a file, and take it as a worker does."""
    file = stored_file(store, content, purpose=changes.pop("purpose", "batch"))
    save_file(store, file)
    wanted = {"input_file_id": file.id, "endpoint": CHATS} | changes
    return taken(store, BatchRequest.model_validate(wanted))


def taken(
    store: Store, wanted: BatchRequest, identity: Identity | None = None
) -> tuple[Batch, Lease]:
    caller = identity or default_identity(store)
    creation = Creation(project_id=caller.project_id, fingerprint="f")
    batch = create_batch(store, caller, wanted, creation)
    claimed = claim(store, "test")
    assert claimed is not None
    return batch, claimed[1]


def now(store: Store, batch: Batch) -> Batch:
    return get_batch(store, batch.project_id, batch.id)


def content(store: Store, batch: Batch, name: str) -> list[dict[str, Any]]:
    """Return the lines of one of a batch's files; none where there is no file."""
    file_id = getattr(now(store, batch), f"{name}_file_id")
    if file_id is None:
        return []
    with store.blobs.open(get_file(store, batch.project_id, file_id).sha256) as handle:
        return [json.loads(each) for each in handle.read().splitlines()]


def test_every_request_is_asked_once_and_its_answer_delivered(any_store: Store) -> None:
    batch, lease = started(any_store, many(100))
    api = Api()
    carry_out(any_store, lease, api.ask)
    ended = now(any_store, batch)
    assert (status_of(ended), ended.model) == ("completed", "m")
    assert (ended.total, ended.completed, ended.failed) == (100, 100, 0)
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (500, 200)
    assert ended.usage.cached_tokens == 100
    assert ended.error_file_id is None
    assert set(api.asked.values()) == {1}
    told = content(any_store, batch, "output")
    assert {each["custom_id"] for each in told} == {f"r{n}" for n in range(100)}
    for each in told:
        assert each["id"].startswith("batch_req_")
        assert each["error"] is None
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["said"] == each["custom_id"]
        assert each["response"]["request_id"] == f"req_{each['custom_id']}"


def test_refused_requests_are_in_the_error_file_with_their_answer(any_store: Store) -> None:
    batch, lease = started(any_store, many(3))
    carry_out(any_store, lease, Api(400, 404).ask)
    ended = now(any_store, batch)
    assert (ended.completed, ended.failed, status_of(ended)) == (1, 2, "completed")
    refused = content(any_store, batch, "error")
    assert sorted(each["response"]["status_code"] for each in refused) == [400, 404]
    assert all(each["error"] is None for each in refused)
    assert len(content(any_store, batch, "output")) == 1


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        (b"{x\n", "invalid_json_line", None),
        (b'"text"\n', "invalid_json_line", None),
        (b"\xff\n", "invalid_json_line", None),
        (b"[" * 100_000 + b"\n", "invalid_json_line", None),
        (b'{"custom_id": "\\ud800"}\n', "invalid_json_line", None),
        (b'{"method": "POST"}\n', "missing_required_parameter", "custom_id"),
        (line("a", method=None), "missing_required_parameter", "method"),
        (line("a", url=None), "missing_required_parameter", "url"),
        (line("a", body=None), "missing_required_parameter", "body"),
        (line("a", body={}), "missing_required_parameter", "body.model"),
        (line("a", body=[1]), "invalid_type", "body"),
        (line(1), "invalid_type", "custom_id"),
        (line(""), "invalid_type", "custom_id"),
        (line("r0"), "duplicate_custom_id", "custom_id"),
        (line("a", method="GET"), "invalid_method", "method"),
        (line("a", url=EMBEDDINGS), "invalid_url", "url"),
        (line("a", body={"model": "n"}), "mismatched_model", "body.model"),
        (line("a", body={"model": "m", "stream": True}), "unsupported_value", "body.stream"),
    ],
)
def test_a_file_with_a_bad_line_is_refused_before_anything_is_asked(
    store: Store, bad: bytes, code: str, param: str | None
) -> None:
    batch, lease = started(store, many(2) + b"\n" + bad + line("last"))
    api = Api()
    carry_out(store, lease, api.ask)
    ended = now(store, batch)
    assert (status_of(ended), ended.in_progress_at, ended.total) == ("failed", None, 0)
    [error] = ended.errors
    assert (error.code, error.line, error.param) == (code, 4, param)
    assert api.asked.total() == 0


@pytest.mark.parametrize("model", ["m" * 301, "m\0"])
def test_a_model_that_cannot_be_written_down_is_refused(any_store: Store, model: str) -> None:
    batch, lease = started(any_store, line("a\0", body={"model": model}) * 2)
    carry_out(any_store, lease, Api().ask)
    codes = [each.code for each in now(any_store, batch).errors]
    assert codes == ["invalid_value", "duplicate_custom_id"]


def test_every_bad_line_is_told_up_to_a_limit(store: Store) -> None:
    batch, lease = started(store, b"x\n" * 1200)
    carry_out(store, lease, Api().ask)
    assert [each.line for each in now(store, batch).errors] == list(range(1, 1001))


@pytest.mark.parametrize("empty", [b"", b"\n \n"])
def test_an_empty_file_is_refused(store: Store, empty: bytes) -> None:
    batch, lease = started(store, empty)
    carry_out(store, lease, Api().ask)
    assert now(store, batch).errors[0].code == "empty_file"


@pytest.mark.parametrize(
    ("limit", "code"), [("MOST_REQUESTS", "too_many_tasks"), ("MOST_BYTES", "file_too_large")]
)
def test_a_file_that_is_too_large_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: str, code: str
) -> None:
    monkeypatch.setattr(lines, limit, 3)
    batch, lease = started(store, many(4))
    carry_out(store, lease, Api().ask)
    assert [each.code for each in now(store, batch).errors] == [code]


def test_inputs_to_embed_are_counted_over_all_requests(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_INPUTS", 4)
    inputs = ["a", ["a", "b"], [1, 2, 3], [[1], [2]]]
    told = [
        line(str(n), url=EMBEDDINGS, body={"model": "m", "input": given})
        for n, given in enumerate(inputs)
    ]
    batch, lease = started(store, b"".join(told), endpoint=EMBEDDINGS)
    carry_out(store, lease, Api().ask)
    assert now(store, batch).errors[0].code == "too_many_inputs"


def test_a_file_that_is_not_there_or_not_meant_for_batches_is_told(any_store: Store) -> None:
    wanted = BatchRequest(input_file_id="file-nope", endpoint=CHATS)
    for batch, lease in (taken(any_store, wanted), started(any_store, many(1), purpose="evals")):
        carry_out(any_store, lease, Api().ask)
        [error] = now(any_store, batch).errors
        assert (error.code, error.param) == ("invalid_request", "input_file_id")


def test_a_file_of_another_project_is_not_there(any_store: Store) -> None:
    file = stored_file(any_store, many(1), purpose="batch")
    save_file(any_store, file)
    other = create_project(any_store, "other").id
    caller = default_identity(any_store).model_copy(update={"project_id": other})
    wanted = BatchRequest(input_file_id=file.id, endpoint=CHATS)
    batch, lease = taken(any_store, wanted, caller)
    carry_out(any_store, lease, Api().ask)
    assert "Cannot find file" in now(any_store, batch).errors[0].message


def test_a_run_that_died_goes_on_and_asks_nothing_again_that_was_answered(
    any_store: Store,
) -> None:
    batch, lease = started(any_store, many(100))
    api = Api()

    def die(count: int) -> None:
        if count == 60:
            raise ZeroDivisionError

    api.on_answer = die
    with pytest.raises(ZeroDivisionError):
        carry_out(any_store, lease, api.ask)
    folder = any_store.folder("runs") / batch.id
    kept = (folder / answers.OUTPUT).read_bytes()
    before = [json.loads(each)["custom_id"] for each in kept.splitlines()]
    assert before
    with (folder / answers.OUTPUT).open("ab") as file:
        file.write(b'{"id":"batch_req_cut","custom_id":"r99","resp')
    again = Api()
    carry_out(any_store, lease, again.ask)
    assert again.asked.keys() == {f"r{n}" for n in range(100)} - set(before)
    told = [each["custom_id"] for each in content(any_store, batch, "output")]
    assert sorted(told) == sorted(f"r{n}" for n in range(100))
    assert now(any_store, batch).usage.input_tokens == 500


def test_a_cancel_keeps_what_was_answered(any_store: Store) -> None:
    batch, lease = started(any_store, many(500))
    api = Api(400)

    def cancel(count: int) -> None:
        if count == 300:
            assert status_of(cancel_batch(any_store, batch)) == "cancelling"
            assert status_of(cancel_batch(any_store, batch)) == "cancelling"

    async def ask(path: str, body: bytes) -> Reply:
        reply = await api.ask(path, body)
        if api.asked.total() >= 300:
            await asyncio.sleep(60)  # does not outlive the cancel
        return reply

    api.on_answer = cancel
    carry_out(any_store, lease, ask)
    ended = now(any_store, batch)
    assert status_of(ended) == "cancelled"
    assert ended.failed == len(content(any_store, batch, "error")) == 1
    assert ended.completed == len(content(any_store, batch, "output")) > 200
    assert api.asked.total() < 400
    assert cancel_batch(any_store, ended) == ended


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_batch_that_is_over_is_not_cancelled(store: Store, end: str) -> None:
    batch, lease = started(store, many(1) if end == "completed" else b"")
    carry_out(store, lease, Api().ask)
    with pytest.raises(Conflict, match=f"Cannot cancel a batch with status '{end}'."):
        cancel_batch(store, batch)


def test_requests_that_found_no_time_are_told_one_by_one(open_sqlite: OpenStore) -> None:
    clock = [1000.0]
    store = open_sqlite(clock=lambda: clock[0])
    batch, lease = started(store, many(500), output_seconds=3600)
    api = Api()

    def late(count: int) -> None:
        if count == 200:
            clock[0] += DAY

    async def ask(path: str, body: bytes) -> Reply:
        reply = await api.ask(path, body)
        if clock[0] > DAY:
            await asyncio.sleep(60)
        return reply

    api.on_answer = late
    carry_out(store, lease, ask)
    ended = now(store, batch)
    assert (status_of(ended), ended.expired_at) == ("expired", 1000 + DAY)
    assert ended.completed + ended.failed == 500
    given_up = content(store, batch, "error")
    assert len(given_up) == ended.failed > 200
    assert given_up[0]["response"] is None
    assert given_up[0]["error"] == {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }
    for file_id in (ended.output_file_id, ended.error_file_id):
        assert file_id is not None
        assert get_file(store, DEFAULT_PROJECT, file_id).expires_at == 1000 + DAY + 3600


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "expired"])
def test_the_end_of_a_batch_is_announced(open_sqlite: OpenStore, end: str) -> None:
    clock = [1000.0]
    store = open_sqlite(clock=lambda: clock[0])
    add_endpoint(store, DEFAULT_PROJECT, "http://127.0.0.1:9/")
    batch, lease = started(store, b"" if end == "failed" else many(1))
    if end == "cancelled":
        cancel_batch(store, batch)
    if end == "expired":
        clock[0] += DAY
    carry_out(store, lease, Api(*[503] * 9).ask if end == "expired" else Api().ask)
    assert status_of(now(store, batch)) == end
    delivery = claim_delivery(store, for_seconds=1)
    assert delivery is not None
    event = json.loads(delivery.body)
    assert (event["type"], event["data"]) == (f"batch.{end}", {"id": batch.id})


@pytest.mark.parametrize("busy", [429, 500, 503, 504])
def test_a_busy_model_is_asked_again_until_it_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (0.001,) * 3)
    batch, lease = started(store, many(1))
    api = Api(busy, busy)
    carry_out(store, lease, api.ask)
    assert (now(store, batch).completed, api.asked.total()) == (1, 3)


def test_who_asks_for_quiet_is_left_alone_for_so_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (1, 2, 4))
    batch, lease = started(store, many(1))
    waits = iter((0.5, 30.0, 9e9, 0.0))
    slept: list[float] = []

    async def ask(path: str, body: bytes) -> Reply:
        seconds = next(waits)
        return Reply(429 if seconds else 200, "req_1", b"{}", seconds)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", sleep)
        carry_out(store, lease, ask)
    assert slept == [1, 30.0, asking.QUIET_SECONDS]
    assert now(store, batch).completed == 1


def test_a_server_that_fails_is_asked_again_and_not_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (0.001,) * 9)
    batch, lease = started(store, many(1))
    api = Api(*[500] * 9)
    carry_out(store, lease, api.ask)
    assert api.asked.total() == 3
    assert content(store, batch, "error")[0]["response"]["status_code"] == 500


def test_a_model_that_stays_away_is_told_as_it_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (0.001,) * 3)
    batch, lease = started(store, many(1))
    api = Api(*[503] * 10)
    carry_out(store, lease, api.ask)
    assert api.asked.total() == 4
    assert content(store, batch, "error")[0]["response"]["status_code"] == 503


def test_where_nothing_answers_for_long_nobody_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "QUIET_SECONDS", 0.0)
    batch, lease = started(store, many(50))
    api = Api(*[503] * 100)
    carry_out(store, lease, api.ask)
    assert (now(store, batch).failed, api.asked.total()) == (50, 50)


def test_a_full_disk_loses_no_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, lease = started(store, many(20))
    api, write, full = Api(), os.write, [3]

    def short(file: int, data: bytes) -> int:
        if full[0] and data.startswith(b'{"id":"batch_req_'):
            full[0] -= 1
            if full[0] == 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data[:10])
        return write(file, data)

    monkeypatch.setattr(os, "write", short)
    carry_out(store, lease, api.ask)
    assert full == [0]
    assert set(api.asked.values()) == {1}
    told = content(store, batch, "output")
    assert sorted(each["custom_id"] for each in told) == sorted(f"r{n}" for n in range(20))


def test_a_worker_that_lost_the_batch_delivers_nothing(any_store: Store) -> None:
    batch, lease = started(any_store, many(5))
    with pytest.raises(LeaseLost):
        carry_out(any_store, Lease(job_id=batch.id, token="another"), Api().ask)
    assert now(any_store, batch).status == "queued"
    carry_out(any_store, lease, Api().ask)
    assert status_of(now(any_store, batch)) == "completed"


def test_bodies_are_asked_as_they_are_in_the_file(store: Store) -> None:
    exact = b'{"model": "m",  "messages":[{"content":"\\u00e9\xc3\xa9"}], "seed": 123456789012345678901234567890}'
    told = b'{"custom_id": "\xf0\x9f\x98\x80", "method": "POST", "url": "%s", "body": %s}'
    batch, lease = started(store, told % (CHATS.encode(), exact))
    heard = []

    async def ask(path: str, body: bytes) -> Reply:
        heard.append(body)
        return Reply(200, "req_1", b"{}")

    carry_out(store, lease, ask)
    assert heard == [exact]
    assert content(store, batch, "output")[0]["custom_id"] == "😀"


def test_a_file_that_is_deleted_before_the_end_is_asked_all_the_same(any_store: Store) -> None:
    batch, lease = started(any_store, many(300))
    api = Api()

    def die(count: int) -> None:
        if count == 100:
            delete_file(any_store, DEFAULT_PROJECT, batch.input_file_id)
            raise ZeroDivisionError

    api.on_answer = die
    with pytest.raises(ZeroDivisionError):
        carry_out(any_store, lease, api.ask)
    carry_out(any_store, lease, Api().ask)
    assert now(any_store, batch).completed == 300
