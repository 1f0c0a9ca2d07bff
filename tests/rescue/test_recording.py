"""What is kept of what passed: no secrets, no personal data, nothing odd, nothing half written."""

import json
import resource
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from selftune.data.findings.redact import redact
from selftune.models.noted import Heard, Note
from selftune.rescue.comparing import FILE, read_pairs
from selftune.rescue.recorder import FOLDER, Recorder
from selftune.store.accounts import default_identity
from selftune.store.completions import CompletionQuery, StoredCompletion, list_completions
from selftune.store.store import Store

KEY = "sk-proj-" + "aB3dE5fG7h" * 4


def heard(message: dict[str, Any], by: str = "upstream", **choice: Any) -> Heard:
    told = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    body = json.dumps({"choices": [told | choice]}).encode()
    return Heard(by, "m", 200, body, False, 0.5, 0.5)


def note(store: Store, request: dict[str, Any], answer: Heard, **more: Any) -> Note:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}]} | request
    told = json.dumps(body).encode()
    project = default_identity(store).project_id
    at = store.now()
    return Note(project, "/v1/chat/completions", at, told, answer, **{"is_recorded": True, **more})


def stored(store: Store) -> list[StoredCompletion]:
    project = default_identity(store).project_id
    return list(list_completions(store, project, CompletionQuery(limit=50)).data)


def test_every_secret_of_a_text_goes_and_the_rest_stays() -> None:
    mails = " and ".join(f"jane{number}@corp-mail.net" for number in range(30))
    texts = ["nothing here", f"{KEY} then {mails}, password is {KEY}", ""]
    clean, taken = redact(texts)
    assert clean[0] == "nothing here"
    assert clean[2] == ""
    assert "corp-mail" not in clean[1]
    assert KEY not in clean[1]
    assert clean[1].count("[e-mail address]") == 30
    assert taken >= 31


def test_a_text_that_has_more_than_can_be_taken_out_goes_as_a_whole() -> None:
    [clean], _ = redact([" ".join(f"jane{number}@corp-mail.net" for number in range(300))])
    assert "corp-mail" not in clean


def test_calls_users_and_metadata_are_redacted_too(store: Store) -> None:
    given = json.dumps({"to": "jane.roe@corp-mail.net", "n": 1})
    call = {"id": "c", "type": "function", "function": {"name": "send", "arguments": given}}
    request = {
        "user": "john.doe@corp-mail.net",
        "metadata": {"who": "mia@corp-mail.net", "max@corp-mail.net": "asks"},
        "tools": [{"type": "function", "function": {"name": "send", "description": KEY}}],
    }
    answer = heard({"content": None, "tool_calls": [call]}, logprobs={"content": []})
    Recorder(store).take([note(store, request, answer)])
    [kept] = stored(store)
    text = kept.model_dump_json()
    assert "corp-mail" not in text
    assert KEY not in text
    arguments = kept.message["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"to": "[e-mail address]", "n": 1}
    assert kept.choices[0].logprobs is None  # they would spell it out
    assert kept.metadata["answered_by"] == "upstream"


def test_one_exchange_that_cannot_be_kept_costs_no_other(store: Store) -> None:
    recorder = Recorder(store)
    refused = Heard("upstream", "m", 400, b"{}", False, 0.1, 0.1)
    odd = Heard("upstream", "m", 200, b'{"choices": 3}', False, 0.1, 0.1)
    broken = Heard("upstream", "m", 200, b'data: {"choices": [', True, 0.1, 0.1)
    fine = heard({"content": "fine"})
    nul = {"user": "a\0b"}
    recorder.take(
        [note(store, {}, each) for each in (refused, odd, fine, broken)]
        + [note(store, nul, fine), note(store, {"messages": 3}, fine)]
    )
    assert [each.output_text for each in stored(store)] == ["fine"]
    assert (recorder.status.recorded, recorder.status.unreadable) == (1, 5)


@pytest.mark.parametrize("odd", [{"temperature": "x"}, {"user": {}}])
def test_what_no_column_takes_costs_no_other_exchange(
    store: Store, odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(store)
    fine = heard({"content": "fine"})
    recorder.take([note(store, {}, fine), note(store, odd, heard({"content": KEY}))] * 2)
    assert [each.output_text for each in stored(store)] == ["fine", "fine"]
    assert (recorder.status.recorded, recorder.status.unreadable) == (2, 2)
    assert "A note was lost" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("text", ["{'a': 1}", '{"b": 2, "a": 1}'])
def test_calls_are_the_same_however_their_json_is_written(store: Store, text: str) -> None:
    def call(arguments: str) -> dict[str, Any]:
        function = {"name": "f", "arguments": arguments}
        return {"content": None, "tool_calls": [{"id": "x", "function": function}]}

    first = heard(call('{"a": 1, "b": 2}'))
    second = heard(call(text), by="replacement")
    Recorder(store).take([note(store, {}, first, shadow=second, is_recorded=False)])
    [pair] = read_pairs(store.folder(FOLDER))
    assert pair.is_same is (text == '{"b": 2, "a": 1}')
    assert stored(store) == []


def test_a_line_that_a_crash_cut_costs_no_other(store: Store) -> None:
    recorder = Recorder(store)
    pair = note(store, {}, heard({"content": "a"}), shadow=heard({"content": "b"}, "replacement"))
    recorder.take([pair])
    path = store.folder(FOLDER) / FILE
    path.write_bytes(path.read_bytes() + b'{"at": 1, "pa')
    recorder.take([pair])
    assert len(list(read_pairs(store.folder(FOLDER)))) == 2


def test_a_line_for_which_there_is_no_room_leaves_nothing_of_itself(store: Store) -> None:
    recorder = Recorder(store)
    pair = note(store, {}, heard({"content": "a"}), shadow=heard({"content": "b"}, "replacement"))
    recorder.take([pair])
    path = store.folder(FOLDER) / FILE
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))
    try:
        recorder.take([pair])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert recorder.status.dropped == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OperationalError("INSERT", {"messages": KEY}, Exception("No space left on device")),
    ],
)
def test_a_full_disk_stops_recording_for_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    recorder = Recorder(store)
    with monkeypatch.context() as patched:
        patched.setattr("selftune.store.completions.save_completion", full)
        recorder.take([note(store, {}, heard({"content": "a"}))])
    recorder.take([note(store, {}, heard({"content": "b"}))])
    assert recorder.status.dropped == 2
    assert "No space" in recorder.status.problem
    assert KEY not in recorder.status.problem
    assert stored(store) == []
