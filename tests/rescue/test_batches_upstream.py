"""The requests of a batch go where the same requests to the server go."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.models.sockets import RawServer, answer, serving
from tests.rescue.proxied import BODY, KEY, MODEL, OK
from tests.serve.test_batches import content, line, now, started
from tests.wire.model_stub import name_models, playing

from selftune.batching import carry_out
from selftune.core.settings import Settings
from selftune.jobs.queue import held_job
from selftune.models.switches import Switch, add_switch
from selftune.serve.batches import asking
from selftune.store.batches import Batch
from selftune.store.store import Store, open_store

BUSY = answer(b'{"error": {"message": "later"}}', "429 Too Many Requests", "Retry-After-Ms: 1")
PRETTY = answer(json.dumps(json.loads(BODY), indent=2).encode(), "200 OK")
PAGE = answer(b"<html>Bad gateway</html>", "502 Bad Gateway")
BROKEN = answer(b'{"error": {"message": "sorry"}}', "500 Internal Server Error")


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (0.001,) * 3)
    monkeypatch.setenv("UPSTREAM_KEY", KEY)


def home_of(folder: Path, upstream: RawServer) -> Store:
    """Return the store of a home whose settings name an account upstream."""
    folder.mkdir()
    told = f'[profile.up]\nbase_url = "{upstream.url}"\napi_key_variable = "UPSTREAM_KEY"\n'
    (folder / "profiles.toml").write_text(told, encoding="utf-8")
    return open_store(Settings(home=folder, upstream="up"))


def done(store: Store, count: int) -> Batch:
    """Carry a batch out as a worker's child does."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    lines = [line(f"r{number}", body=body | {"seed": number}) for number in range(count)]
    batch, lease = started(store, b"".join(lines))
    with store.db.read() as connection:
        job = held_job(connection, batch.id)
    carry_out(store, job, lease)
    return now(store, batch)


def read(stub: RawServer, number: int) -> bytes:
    """Return the body of the n-th request."""
    return stub.requests[number - 1].partition(b"\r\n\r\n")[2]


def said(told: dict[str, Any]) -> str:
    return str(told["response"]["body"]["choices"][0]["message"]["content"])


def test_an_account_upstream_that_is_busy_is_asked_until_it_answers(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall({1: BUSY, 2: BROKEN}.get(number, OK))
        return True

    with serving(script) as stub:
        store = home_of(tmp_path / "home", stub)
        batch = done(store, 5)
    told = content(store, batch, "output")
    store.close()
    assert (batch.completed, batch.failed, batch.usage.input_tokens) == (5, 0, 35)
    assert {said(each) for each in told} == {"from upstream"}
    assert len(stub.requests) == 7
    assert all(f"authorization: Bearer {KEY}".encode() in each for each in stub.requests)
    seeds = {json.loads(read(stub, number))["seed"] for number in range(1, 8)}
    assert seeds == set(range(5))


def test_a_wait_that_was_asked_for_is_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = answer(b"{}", "429 Too Many Requests", "Retry-After: 60")

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(later if number < 3 else OK)
        return True

    monkeypatch.setattr(asking, "QUIET_SECONDS", 0.05)
    with serving(script) as stub:
        store = home_of(tmp_path / "home", stub)
        batch = done(store, 1)
    store.close()
    assert (batch.completed, batch.failed) == (1, 0)


def test_answers_are_lines_of_json_however_upstream_writes_them(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        if json.loads(read(stub, number))["seed"] == 1:
            connection.sendall(PAGE)
            return True
        connection.sendall({1: OK[:-9], 2: PAGE}.get(number, PRETTY))
        return number > 1

    with serving(script) as stub:
        store = home_of(tmp_path / "home", stub)
        batch = done(store, 4)
    told, errors = content(store, batch, "output"), content(store, batch, "error")
    store.close()
    assert {each["custom_id"]: said(each) for each in told} == dict.fromkeys(
        ("r0", "r2", "r3"), "from upstream"
    )
    [lost] = [each["response"] for each in errors]
    assert (lost["status_code"], lost["body"]["error"]["code"]) == (502, "upstream_unreadable")


def test_a_batch_follows_the_switch_of_its_model(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK)
        return True

    with serving(script) as stub, playing(lambda body: 400 if body["seed"] else "ours") as model:
        store = home_of(tmp_path / "home", stub)
        name_models(store.root, model, "ours")
        add_switch(
            store.root, Switch(model=MODEL, to="replacement", replacement="ours", switched_at=1)
        )
        batch = done(store, 2)
        told = {each["custom_id"]: said(each) for each in content(store, batch, "output")}
        store.close()
    assert told == {"r0": "ours", "r1": "from upstream"}  # which is asked where ours fails
