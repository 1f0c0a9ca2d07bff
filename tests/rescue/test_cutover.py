"""One address throughout: passed on, shared out, switched, and nothing lost."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.models.sockets import RawServer, answer, serving
from tests.rescue.proxied import (
    BODY,
    FAKE,
    KEY,
    MODEL,
    OK,
    Proxied,
    chat,
    proxied,
    said,
    tuned,
)
from tests.rescue.stand_in import StandIn
from tests.wire.model_stub import name_models, playing

from selftune.core.errors import InvalidInput
from selftune.models.own_catalog import set_replacement
from selftune.rescue.cutover import routes

# passing on


def test_an_answer_of_upstream_comes_back_byte_for_byte(proxy: Proxied, stub: RawServer) -> None:
    body = b'{"model": "gpt-5.1",  "messages":[{"role":"user","content":"a"}], "odd": 1e3}'
    headers = {"x-mine": "1", "cookie": "c=1"}
    found = proxy.http.post("/chat/completions?a=b", content=body, headers=headers)
    assert found.content == BODY
    assert found.headers.get_list("x-request-id") == ["req_up"]
    head, _, sent = stub.requests[0].partition(b"\r\n\r\n")
    assert sent == body
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /v1/chat/completions?a=b http/1.1"
    assert f"authorization: bearer {KEY}" in lines
    assert "x-mine: 1" in lines
    assert sum(line.startswith("authorization") for line in lines) == 1
    assert not [line for line in lines if line.startswith(("cookie", "connection"))]


def test_headers_of_limits_are_upstreams_and_those_of_one_hop_are_not_passed(
    tmp_path: Path,
) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        of_a_hop = ("Connection: X-Hop", "X-Hop: 1", "Connection: keep-alive")
        of_a_name = ("Set-Cookie: a=b", "Alt-Svc: h3", "Strict-Transport-Security: max-age=1")
        told = ("X-RateLimit-Remaining-Requests: 41", "X-Selftune-Answered-By: replacement")
        connection.sendall(answer(BODY, "200 OK", *told, *of_a_hop, *of_a_name))
        return True

    with serving(script) as stub, proxied(tmp_path / "home", stub.url) as proxy:
        found = chat(proxy)
    assert found.headers.get_list("x-selftune-answered-by") == ["upstream"]
    assert found.headers.get_list("x-ratelimit-remaining-requests") == ["41"]
    assert found.headers["x-request-id"].startswith("req_")  # upstream said none
    hidden = {"x-hop", "set-cookie", "alt-svc", "strict-transport-security"}
    assert not hidden & set(found.headers)


def test_a_stream_is_handed_on_piece_by_piece(tmp_path: Path) -> None:
    read = threading.Event()

    def script(connection: socket.socket, number: int) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"9\r\ndata: 1\n\n\r\n")
        assert read.wait(20), "the first piece was not handed on before the second was sent"
        connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        return True

    with (
        serving(script) as stub,
        proxied(tmp_path / "home", stub.url) as proxy,
        proxy.http.stream(
            "POST", "/chat/completions", json={"model": "gpt-5.1", "stream": True}
        ) as found,
    ):
        pieces = found.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        read.set()
        assert b"".join(pieces) == b"data: 2\n\n"


def test_a_caller_who_goes_frees_upstream(tmp_path: Path) -> None:
    asked, closed = threading.Event(), threading.Event()

    def script(connection: socket.socket, number: int) -> bool:
        asked.set()
        assert connection.recv(1) == b""
        closed.set()
        return False

    with serving(script) as stub, proxied(tmp_path / "home", stub.url) as proxy:
        body = json.dumps({"model": MODEL, "messages": []}).encode()
        with socket.create_connection(("127.0.0.1", proxy.port)) as caller:
            caller.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
                + proxy.key.encode()
                + b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert asked.wait(20)
        assert closed.wait(20)


def test_an_upload_to_a_path_that_is_not_ours_passes_whole(proxy: Proxied, stub: RawServer) -> None:
    data = bytes(range(256)) * 8192
    found = proxy.http.post(
        "/audio/transcriptions", files={"file": ("a.wav", data)}, data={"model": "whisper-1"}
    )
    assert found.status_code == 200
    assert data in stub.requests[0]
    assert stub.requests[0].startswith(b"POST /v1/audio/transcriptions HTTP/1.1")


@pytest.mark.parametrize(
    "path", ["/../admin", "/x/%2e%2e/%2e%2e/admin", "/..", "/..%5cadmin", "/..;/admin"]
)
def test_no_path_leaves_the_address_of_the_account(
    proxy: Proxied, stub: RawServer, path: str
) -> None:
    head = f"GET /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {proxy.key}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port)) as caller:
        caller.sendall(head.encode())
        assert caller.recv(4096).startswith(b"HTTP/1.1 404 ")
    assert stub.requests == []


def test_a_kept_connection_that_upstream_closed_costs_no_request(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        if number % 2 == 0:
            return False  # it closes when it is asked again, without a word
        connection.sendall(OK)
        return True

    with serving(script) as stub, proxied(tmp_path / "home", stub.url) as proxy:
        assert [chat(proxy).status_code for _ in range(4)] == [200] * 4
        assert len(stub.requests) > 4


def test_a_cut_answer_is_cut_for_the_caller_too(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK[:-10])
        return False

    with (
        serving(script) as stub,
        proxied(tmp_path / "home", stub.url) as proxy,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        chat(proxy)


def test_what_is_here_is_answered_here(proxy: Proxied, stub: RawServer) -> None:
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "a"}]
    with proxy.client() as client:
        client.chat.completions.create(model=FAKE, messages=asked)
        assert list(client.files.list()) == []
    assert proxy.http.post("/chat/completions", json=[1]).status_code == 400
    assert proxy.http.get("/anything", headers={"authorization": "no"}).status_code == 401
    assert stub.requests == []
    proxy.http.post("/chat/completions", json={"model": "gpt-4o-mini", "messages": asked})
    assert len(stub.requests) == 1  # its alias here was nobody's decision


def test_an_upstream_that_is_down_or_refuses_our_key_is_said_without_its_words(
    tmp_path: Path, free_port: int
) -> None:
    with proxied(tmp_path / "home", f"http://127.0.0.1:{free_port}/v1") as proxy:
        found = chat(proxy)
        assert (found.status_code, found.json()["error"]["code"]) == (503, "upstream_down")

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b'{"error": {"message": "sk-up...am"}}', "401 Unauthorized"))
        return True

    with serving(script) as stub, proxied(tmp_path / "other", stub.url) as proxy:
        found = chat(proxy)
    assert (found.status_code, found.json()["error"]["code"]) == (503, "upstream_refuses")
    assert "sk-up" not in found.text


# the official client, with a second server upstream


def test_the_official_client_sees_no_difference(account: StandIn, tmp_path: Path) -> None:
    model = tuned(account)
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Where is my order?"}]
    with (
        proxied(tmp_path / "home", account.base_url, upstream_key=account.key) as proxy,
        proxy.client() as through,
        account.client() as direct,
    ):
        for client in (direct, through):
            stream = client.chat.completions.create(model=model, messages=asked, stream=True)
            told = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            whole = client.chat.completions.create(model=model, messages=asked, temperature=0)
            assert told
            assert whole.choices[0].message.content
            assert client.models.retrieve(model).id == model
            kept = client.responses.create(model=model, input="Hello")
            assert client.responses.retrieve(kept.id).output_text == kept.output_text
            more = client.responses.create(model=model, input="And?", previous_response_id=kept.id)
            assert more.previous_response_id == kept.id
            with pytest.raises(openai.NotFoundError, match="does not exist"):
                client.chat.completions.create(model="ft:nothing:a:b:c", messages=asked)
            with pytest.raises(openai.BadRequestError, match="temperature"):
                client.chat.completions.create(model=model, messages=asked, temperature=9)
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve("resp_none")


@pytest.mark.parametrize(
    "odd", [b'"stream": 1', b'"store": "true"', b'"user": 5', b'"previous_response_id": []']
)
def test_a_field_of_another_type_takes_no_question_from_upstream(
    proxy: Proxied, stub: RawServer, odd: bytes
) -> None:
    body = b'{"model": "gpt-4o-mini", "messages": [], %b}' % odd  # an alias of a base here
    found = proxy.http.post("/chat/completions", content=body)
    assert found.headers["x-selftune-answered-by"] == "upstream"
    assert stub.requests[0].endswith(body)


@pytest.mark.parametrize(
    "odd", [b'"messages": [{"content": "\xff"}]', b'"messages": [], "\xff": 1']
)
def test_bytes_that_are_no_text_are_refused_by_who_answers(proxy: Proxied, odd: bytes) -> None:
    body = b'{"model": "%b", %b}' % (MODEL.encode(), odd)
    found = {}
    for target in ("shadow=100", "canary=100", "replacement"):
        proxy.switch(target, falls_back=False)
        answered = proxy.http.post("/chat/completions", content=body)
        found[target] = answered.status_code, answered.headers["x-selftune-answered-by"]
    assert found == {
        "shadow=100": (200, "upstream"),
        "canary=100": (400, "replacement"),
        "replacement": (400, "replacement"),
    }


# switching


def test_a_running_server_follows_each_switch_at_once(proxy: Proxied, stub: RawServer) -> None:
    assert said(proxy) == "upstream"
    proxy.switch("replacement")
    assert said(proxy) == "replacement"
    proxy.switch("upstream")
    assert said(proxy) == "upstream"
    (proxy.store.root / "switches.json").write_text("{", encoding="utf-8")
    assert said(proxy) == "upstream"  # a broken file changes nothing
    assert len(stub.requests) == 3


def test_a_switch_to_what_cannot_answer_is_refused(proxy: Proxied) -> None:
    for target in ("canary", "canary=0", "shadow=101", "replacement=5", "somewhere", "canary=x"):
        with pytest.raises(InvalidInput, match="canary=PERCENT"):
            proxy.switch(target)
    with pytest.raises(InvalidInput, match="Nobody said what answers instead"):
        proxy.switch("replacement", replacement=None)
    with pytest.raises(InvalidInput, match="'nothing' cannot answer instead"):
        proxy.switch("canary=5", replacement="nothing")
    assert routes(proxy.store.root) == ()


def test_switches_leave_a_history(proxy: Proxied) -> None:
    for target in ("shadow=20", "canary=10", "replacement"):
        proxy.switch(target)
    [route] = routes(proxy.store.root)
    assert [each.words for each in route.history] == ["shadow=20", "canary=10", "replacement"]
    assert route.switch.replacement == FAKE


def test_switches_made_at_the_same_time_are_all_kept(proxy: Proxied) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: proxy.switch(f"canary={n + 1}"), range(24)))
    [route] = routes(proxy.store.root)
    assert sorted(each.percent or 0 for each in route.history) == list(range(1, 25))


def test_a_canary_keeps_each_user_on_one_side_and_grows_by_adding(proxy: Proxied) -> None:
    users = [f"user-{number}" for number in range(40)]

    def on_replacement() -> set[str]:
        return {user for user in users if said(proxy, user=user) == "replacement"}

    proxy.switch("canary=30")
    some = on_replacement()
    assert some == on_replacement()
    assert 3 <= len(some) <= 24
    proxy.switch("canary=60")
    assert some < on_replacement()


def test_a_conversation_stays_on_its_side_as_it_grows(proxy: Proxied) -> None:
    proxy.switch("canary=50")
    for number in range(12):
        first = {"role": "user", "content": f"question {number}"}
        begun = proxy.http.post("/chat/completions", json={"model": MODEL, "messages": [first]})
        more = [first, {"role": "assistant", "content": "a"}, {"role": "user", "content": "more"}]
        grown = proxy.http.post("/chat/completions", json={"model": MODEL, "messages": more})
        name = "x-selftune-answered-by"
        assert grown.headers[name] == begun.headers[name]


def test_upstream_answers_where_the_replacement_fails(tmp_path: Path, stub: RawServer) -> None:
    with playing(lambda body: 500) as model, proxied(tmp_path / "home", stub.url) as proxy:
        name_models(proxy.store.root, model, "ours")
        proxy.switch("replacement", replacement="ours")
        assert said(proxy) == "upstream"
        assert model.asked["hello"] == 1
        assert model.bodies[0]["model"] == "ours"
        proxy.switch("replacement", replacement="ours", falls_back=False)
        assert chat(proxy).status_code == 503


def test_upstream_answers_where_the_replacement_is_silent(tmp_path: Path, stub: RawServer) -> None:
    with (
        playing(lambda body: "late", seconds=5.0) as model,
        proxied(tmp_path / "home", stub.url) as proxy,
    ):
        name_models(proxy.store.root, model, "ours")
        proxy.switch("replacement", replacement="ours", timeout_seconds=0.2)
        assert said(proxy) == "upstream"


def test_the_replacement_answers_where_upstream_fails_if_it_was_said(
    tmp_path: Path, free_port: int
) -> None:
    with proxied(tmp_path / "home", f"http://127.0.0.1:{free_port}/v1") as proxy:
        proxy.switch("upstream")
        assert chat(proxy).status_code == 503
        proxy.switch("upstream", backs_up=True)
        assert said(proxy) == "replacement"


def test_the_replacement_answers_where_upstream_is_silent_if_it_was_said(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.recv(1)
        return False

    with serving(script) as stub, proxied(tmp_path / "home", stub.url) as proxy:
        proxy.switch("upstream", backs_up=True, timeout_seconds=0.2)
        assert said(proxy) == "replacement"


def test_a_replacement_that_was_trained_waits_for_its_switch(
    proxy: Proxied, stub: RawServer
) -> None:
    set_replacement(proxy.store.root, MODEL, FAKE)
    assert said(proxy) == "upstream"
    proxy.switch("replacement", replacement=None)
    assert said(proxy) == "replacement"
