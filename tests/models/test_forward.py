"""Bytes that pass through: to Azure's paths, while they come, no faster than they are read."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from tests.models.sockets import RawServer, answer, serving

from selftune.models.asking import run_loop
from selftune.models.exchange import TooSlow, Unheard
from selftune.models.forward import Forwarder, Outgoing
from selftune.models.passage import Answer
from selftune.models.profiles import Profile

Loop = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Loop:
    return run_loop if request.param == "uvloop" else asyncio.run


def forward(
    loop: Loop,
    profile: Profile,
    use: Callable[[Forwarder], Coroutine[Any, Any, None]],
) -> None:
    async def go() -> None:
        forwarder = Forwarder(profile)
        try:
            await use(forwarder)
        finally:
            await forwarder.close()

    loop(go())


def at(server: RawServer) -> Profile:
    return Profile(name="up", base_url=server.url)


async def whole(found: Answer) -> bytes:
    pieces = []
    while piece := await found.read():
        pieces.append(piece)
    return b"".join(pieces)


def asked(body: "bytes | AsyncIterator[bytes]" = b"{}", *headers: tuple[bytes, bytes]) -> Outgoing:
    return Outgoing("POST", b"/chat/completions", b"", list(headers), body, "my model")


def test_azure_is_asked_where_it_answers_and_with_its_own_header(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    path = b"/chat/completions"

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b"ok"))
        return True

    async def use(forwarder: Forwarder) -> None:
        found = await forwarder.send(asked()._replace(path=path, query=b"a=b"))
        assert await whole(found) == b"ok"

    with serving(script) as server:
        url = f"http://127.0.0.1:{server.port}"
        forward(loop, Profile(name="az", kind="azure", base_url=url), use)
        dated = Profile(name="az", kind="azure", base_url=url, api_version="2024-10-21")
        forward(loop, dated, use)
        path = b"/responses"
        forward(loop, dated, use)
    first, second, third = (request.decode().split("\r\n") for request in server.requests)
    assert first[0] == "POST /openai/v1/chat/completions?a=b HTTP/1.1"
    query = "?a=b&api-version=2024-10-21"
    chats = "/openai/deployments/my%20model/chat/completions"
    assert second[0] == f"POST {chats}{query} HTTP/1.1"
    assert third[0] == f"POST /openai/responses{query} HTTP/1.1"
    assert "api-key: secret" in first
    assert not [line for line in first if line.startswith("authorization")]


def test_a_body_is_sent_while_it_comes_and_a_refusal_ends_it(loop: Loop) -> None:
    pieces: list[bytes] = []

    def script(connection: socket.socket, number: int) -> bool:
        pieces.append(connection.recv(100))
        connection.sendall(answer(b"too large", "413 Content Too Large"))
        return False

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        for _ in range(1000):
            await asyncio.sleep(0.005)
            yield b"more"

    async def use(forwarder: Forwarder) -> None:
        found = await forwarder.send(asked(body()))
        assert found.head.result().status == 413
        assert await whole(found) == b"too large"

    with serving(script) as server:
        forward(loop, at(server), use)
    begin = server.requests[0].partition(b"\r\n\r\n")[2] + pieces[0]
    assert begin.startswith(b"5\r\nfirst\r\n")


def test_a_connection_on_which_half_a_request_was_sent_is_not_used_again(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b"no", "400 Bad Request"))
        return True

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.05)
        yield b"more"

    async def use(forwarder: Forwarder) -> None:
        for each in (asked(body()), asked(), asked()):
            assert await whole(await forwarder.send(each)) == b"no"

    with serving(script) as server:
        forward(loop, at(server), use)
    assert server.connections == 2
    assert server.requests[1] == server.requests[2]


def test_who_reads_slowly_slows_the_sender_down(loop: Loop) -> None:
    size, sent, stop = 64 * 1024 * 1024, [0], threading.Event()

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size and not stop.is_set():
            sent[0] += connection.send(bytes(min(65536, size - sent[0])))
        return False

    async def use(forwarder: Forwarder) -> None:
        found = await forwarder.send(asked())
        before = -1
        while before != sent[0]:  # until nothing moves any more
            before = sent[0]
            await asyncio.sleep(0.2)
        assert sent[0] < size / 2
        assert len(await whole(found)) == size

    with serving(script) as server:
        forward(loop, at(server), use)
        stop.set()


def test_silence_and_cuts_are_told_apart(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
            return False
        connection.recv(1)
        return False

    async def use(forwarder: Forwarder) -> None:
        found = await forwarder.send(asked())
        with pytest.raises(Unheard, match="closed"):
            await whole(found)
        with pytest.raises(TooSlow):
            await forwarder.send(asked(), timeout_seconds=0.1)

    with serving(script) as server:
        forward(loop, at(server), use)


def test_an_answer_may_come_byte_by_byte_and_connections_are_used_again(loop: Loop) -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b"3\r\nwho\r\n2\r\nle\r\n0\r\n\r\n"

    def script(connection: socket.socket, number: int) -> bool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for value in raw:
            connection.sendall(bytes([value]))
        return True

    async def use(forwarder: Forwarder) -> None:
        for _ in range(3):
            assert await whole(await forwarder.send(asked())) == b"whole"

    with serving(script) as server:
        forward(loop, at(server), use)
    assert server.connections == 1
