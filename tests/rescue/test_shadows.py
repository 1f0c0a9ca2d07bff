"""What passes is recorded where that was said, and the replacement is asked beside."""

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.models.sockets import RawServer, answer, serving
from tests.rescue.proxied import (
    BODY,
    MODEL,
    Proxied,
    eventually,
    proxied,
    said,
    stored,
    tuned,
)
from tests.rescue.stand_in import StandIn
from tests.wire.model_stub import name_models, playing

from selftune.api.upstream import shadowing
from selftune.api.upstream.witness import Witness
from selftune.models.noted import Heard, Note, frame
from selftune.rescue.cutover import shadows
from selftune.store.accounts import create_key, create_project
from selftune.store.store import open_store


def test_what_passes_is_recorded_without_secrets(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        text = BODY.replace(b"from upstream", b"Write to jane.roe@corp-mail.net")
        connection.sendall(answer(text, "200 OK", "Content-Type: application/json"))
        return True

    key = "sk-proj-" + "aB3dE5fG7h" * 4
    with serving(script) as stub, proxied(tmp_path / "home", stub.url, records=True) as proxy:
        said(proxy, f"My key is {key}, mail john.doe@corp-mail.net and mia@corp-mail.net", seed=7)
        eventually(lambda: bool(stored(proxy.store)))
        [kept] = stored(proxy.store)
    text = kept.model_dump_json()
    assert key not in text
    assert "corp-mail.net" not in text
    assert kept.model == MODEL
    assert kept.metadata == {"answered_by": "upstream"}
    assert kept.options["seed"] == 7
    assert kept.output_text == "Write to [e-mail address]"
    assert kept.usage is not None
    assert kept.usage.prompt_tokens == 7


def test_what_passes_is_recorded_for_the_project_that_asked(
    tmp_path: Path, stub: RawServer
) -> None:
    with proxied(tmp_path / "home", stub.url, records=True) as proxy:
        other = create_project(proxy.store, "other").id
        _, key = create_key(proxy.store, "theirs", project_id=other)
        ours, theirs = dict[str, str](), {"authorization": f"Bearer {key}"}
        body = {"model": MODEL, "messages": [{"role": "user", "content": "theirs"}]}
        assert proxy.http.post("/chat/completions", json=body, headers=theirs).status_code == 200
        said(proxy, "ours")
        eventually(lambda: bool(stored(proxy.store)))
        for headers, text in ((theirs, "theirs"), (ours, "ours")):
            [kept] = proxy.http.get("/chat/completions", headers=headers).json()["data"]
            read = f"/chat/completions/{kept['id']}/messages"
            [message] = proxy.http.get(read, headers=headers).json()["data"]
            assert message["content"] == text


def test_nothing_is_recorded_unless_it_was_said(proxy: Proxied) -> None:
    said(proxy)
    proxy.switch("shadow=100")
    said(proxy)
    eventually(lambda: bool(shadows(proxy.store)))
    assert stored(proxy.store) == []
    assert "hello" not in (proxy.store.root / "rescue" / "shadow.jsonl").read_text()


def test_a_stream_is_recorded_as_the_answer_that_it_was(account: StandIn, tmp_path: Path) -> None:
    model = tuned(account)
    with (
        proxied(
            tmp_path / "home", account.base_url, records=True, upstream_key=account.key
        ) as proxy,
        proxy.client() as client,
    ):
        client.completions.create(model=model, prompt="Hi")  # which the API cannot store
        with client.chat.completions.stream(
            model=model, messages=[{"role": "user", "content": "Where is my order?"}]
        ) as stream:
            told = stream.get_final_completion().choices[0].message.content
        streamed = client.responses.create(model=model, input="Hi", stream=True)
        [over] = [each for each in streamed if each.type == "response.completed"]
        eventually(lambda: len(stored(proxy.store)) == 2)
        chat_, response = stored(proxy.store)
        status = json.loads((proxy.store.root / "run" / "recorder.json").read_text())
    assert status["unreadable"] == 0
    assert chat_.output_text == told
    assert (response.kind, response.output_text) == ("response", over.response.output_text)


def test_a_stream_whose_reader_leaves_at_its_last_word_is_recorded(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        told = {"index": 0, "delta": {"role": "assistant", "content": "all"}}
        choices = json.dumps({"choices": [told]}).encode()
        pieces = (b"data: " + choices + b"\n\nda", b"ta: [DONE]\n\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert connection.recv(1) == b""  # it says only after this that nothing more comes
        return False

    with (
        serving(script) as stub,
        proxied(tmp_path / "home", stub.url, records=True) as proxy,
        proxy.client() as client,
    ):
        asked: Any = [{"role": "user", "content": "hello"}]
        assert list(client.chat.completions.create(model=MODEL, messages=asked, stream=True))
        eventually(lambda: bool(stored(proxy.store)))
        assert stored(proxy.store)[0].output_text == "all"


def test_a_shadow_is_asked_after_the_answer_and_compared(tmp_path: Path, stub: RawServer) -> None:
    def rule(body: dict[str, Any]) -> str | int:
        told: dict[str, str | int] = {"bad": 500, "same": "from upstream"}
        return told.get(body["messages"][-1]["content"], "from downstream")

    with playing(rule) as model, proxied(tmp_path / "home", stub.url) as proxy:
        name_models(proxy.store.root, model, "ours")
        proxy.switch("shadow=100", replacement="ours")
        for number, text in enumerate(("same", "other", "bad", "more"), start=1):
            assert said(proxy, text) == "upstream"
            eventually(lambda: sum(each.asked for each in shadows(proxy.store)) == number)  # noqa: B023
        assert model.asked == {"same": 1, "other": 1, "bad": 1, "more": 1}
        assert "store" not in model.bodies[0]
        [found] = shadows(proxy.store, MODEL)
    assert (found.model, found.replacement, found.asked) == (MODEL, "ours", 4)
    assert found.failed.value == 0.25
    assert found.same is not None
    assert found.same.value == pytest.approx(1 / 3)
    assert found.same.low < 1 / 3 < found.same.high
    assert found.similarity is not None
    assert 0.5 < found.similarity.value < 1
    assert found.slower_seconds is not None


def test_shadows_of_a_slow_replacement_wait_and_keep_nobody_waiting(
    tmp_path: Path, stub: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def rule(body: dict[str, Any]) -> str:
        over.wait(60)
        return "late"

    monkeypatch.setattr(shadowing, "MOST_WAITING", 4)
    with playing(rule) as model, proxied(tmp_path / "home", stub.url) as proxy:
        name_models(proxy.store.root, model, "ours")
        proxy.switch("shadow=100", replacement="ours")
        for number in range(20):
            assert said(proxy, f"question {number}") == "upstream"
        status = proxy.store.root / "run" / "recorder.json"
        eventually(lambda: json.loads(status.read_text())["left_out"] == 8)
        eventually(lambda: len(model.bodies) == 8)
        over.set()
        eventually(lambda: json.loads(status.read_text())["compared"] == 12)


def test_what_was_answered_is_kept_though_its_shadow_never_ends(
    tmp_path: Path, stub: RawServer
) -> None:
    over = threading.Event()

    def rule(body: dict[str, Any]) -> str:
        over.wait(60)
        return "late"

    with playing(rule) as model:
        with proxied(tmp_path / "home", stub.url, records=True) as proxy:
            name_models(proxy.store.root, model, "ours")
            proxy.switch("shadow=100", replacement="ours")
            assert said(proxy, "question") == "upstream"
            eventually(lambda: len(model.bodies) == 1)
        over.set()
    kept = open_store(proxy.store.settings)
    assert [each.model for each in stored(kept)] == [MODEL]
    kept.close()


def test_a_server_that_ends_hands_over_what_was_answered_last(tmp_path: Path) -> None:
    body = bytes(4 * 1024 * 1024)
    note = Note("p", "/v1/responses", 1, body, Heard("upstream", "m", 200, body, False, 0.1, 0.1))
    path = str(tmp_path / "r.sock")

    async def go() -> bytes:
        begun, goes_on, taken = asyncio.Event(), asyncio.Event(), asyncio.Queue[bytes]()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.readexactly(1)
            begun.set()
            await goes_on.wait()
            taken.put_nowait(first + await reader.read())
            writer.close()

        async with await asyncio.start_unix_server(take, path):
            witness = Witness(Path(path))
            witness.tell(note)
            await begun.wait()
            closing = asyncio.create_task(witness.close())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not closing.done(), "it left before all was taken"
            goes_on.set()
            await closing
            return await taken.get()

    assert asyncio.run(go()) == frame(note)


def test_a_recorder_that_cannot_write_stops_nobody(
    tmp_path: Path, stub: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("selftune.store.completions.save_completion", full)
    with proxied(tmp_path / "home", stub.url, records=True) as proxy:
        assert [said(proxy) for _ in range(3)] == ["upstream"] * 3
        status = proxy.store.root / "run" / "recorder.json"
        eventually(lambda: "No space" in status.read_text())
        assert said(proxy) == "upstream"
        assert stored(proxy.store) == []
