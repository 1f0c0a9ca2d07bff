"""HTTP as servers really speak it: in pieces, of any length, with errors, and not at all."""

import asyncio
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.models.sockets import RawServer, answer, serving

from selftune.core.errors import InvalidInput
from selftune.models.asking import run_loop
from selftune.models.connections import Connections
from selftune.models.exchange import NeverSent, NoAnswer, Reply, TooSlow, Unheard, Untrusted
from selftune.models.route import route_to

Loop = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Loop:
    return run_loop if request.param == "uvloop" else asyncio.run


def post(loop: Loop, url: str, times: int = 1, timeout_seconds: float = 20.0) -> list[Reply]:
    """Return the answers to requests that are sent one after another."""
    found: list[Reply] = []

    async def go() -> None:
        connections = Connections(route_to(url), {"x-all": "yes"}, timeout_seconds)
        try:
            for number in range(times):
                found.append(await connections.post(b"{}", {"x-number": str(number)}))
        finally:
            await connections.close()

    loop(go())
    return found


def test_a_connection_is_used_again(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b"%d" % number, "200 OK", "X-Thing: a"))
        return True

    with serving(script) as server:
        replies = post(loop, f"{server.url}/chat?a=b", times=3)
    assert [reply.body for reply in replies] == [b"1", b"2", b"3"]
    assert replies[0].headers[b"x-thing"] == b"a"
    assert server.connections == 1
    head = server.requests[0].decode()
    assert head.startswith("POST /v1/chat?a=b HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "x-all: yes\r\nx-number: 0\r\ncontent-length: 2\r\n\r\n{}" in head


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"whole"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nwho\r\n2\r\nle\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + answer(b"whole"),
    ],
    ids=["length", "chunks", "after continue"],
)
def test_an_answer_may_come_byte_by_byte(loop: Loop, raw: bytes) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for value in raw:
            connection.sendall(bytes([value]))
        return True

    with serving(script) as server:
        replies = post(loop, server.url, times=2)
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"whole")] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\nwhole",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
        answer(b"whole", "200 OK", "Connection: close"),
    ],
    ids=["no length", "HTTP/1.0", "close"],
)
def test_an_answer_may_end_with_its_connection(loop: Loop, raw: bytes) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(raw)
        return False

    with serving(script) as server:
        replies = post(loop, server.url, times=2)
    assert [reply.body for reply in replies] == [b"whole"] * 2
    assert server.connections == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\xff" * 500,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nwhole",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX-Giant: " + b"a" * 500_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: b\r\n" * 50_000,
    ],
)
def test_half_an_answer_and_what_is_none_are_unheard(loop: Loop, raw: bytes) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(raw)
        return False

    with serving(script) as server, pytest.raises(Unheard):
        post(loop, server.url)


def test_an_answer_without_end_is_not_read_to_its_end(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selftune.models.exchange._LONGEST_ANSWER", 100_000)

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"a" * 10_000)

    with serving(script) as server, pytest.raises(Unheard, match="larger"):
        post(loop, server.url)


def test_what_comes_after_an_answer_is_never_taken_for_the_next(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b"%d" % number) + answer(b"surplus"))
        return True

    with serving(script) as server:
        assert [reply.body for reply in post(loop, server.url, times=3)] == [b"1", b"2", b"3"]
        assert server.connections == 3


def test_a_connection_that_was_closed_while_idle_is_not_used(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b"ok"))
        return False  # closed, though nothing was said of it

    async def go() -> None:
        connections = Connections(route_to(server.url), {}, 20.0)
        for _ in range(2):
            await connections.post(b"{}", {})
            await asyncio.sleep(0.1)
        await connections.close()

    with serving(script) as server:
        loop(go())
        assert server.connections == 2


def test_a_slow_answer_is_given_up(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwh")
        time.sleep(0.5)
        return False

    with serving(script) as server, pytest.raises(TooSlow, match=r"0\.1 seconds"):
        post(loop, server.url, timeout_seconds=0.1)


def test_a_question_that_is_cancelled_closes_its_connection(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        if number > 1:
            connection.sendall(answer(b"second"))
        return True

    async def go() -> None:
        connections = Connections(route_to(server.url), {}, 20.0)
        first = asyncio.create_task(connections.post(b"{}", {}))
        while not server.requests:
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert first.cancelled()
        assert (await connections.post(b"{}", {})).body == b"second"
        await connections.close()

    with serving(script) as server:
        loop(go())
        assert server.connections == 2


def test_large_requests_and_answers_are_whole_and_timed(loop: Loop) -> None:
    large = b"x" * 5_000_000

    def script(connection: socket.socket, number: int) -> bool:
        time.sleep(0.2)
        connection.sendall(answer(large))
        return True

    async def go() -> None:
        connections = Connections(route_to(server.url), {}, 20.0)
        reply = await connections.post(large, {})
        await connections.close()
        assert reply.body == large
        assert 0.1 < reply.seconds < 20.0

    with serving(script) as server:
        loop(go())
    assert server.requests[0].endswith(large)


def test_no_connection_means_that_nothing_was_sent(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid/"):
        with pytest.raises(NeverSent):
            post(loop, url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "http://",
        "http://a:99999/",
        "http://a/ b",
        "http://a/\r\nx: y",
        "http://é" * 40,
    ],
)
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(InvalidInput):
        route_to(url)


def test_a_name_and_password_in_the_address_are_sent_as_such(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(b"ok"))
        return False

    with serving(script) as server:
        post(loop, f"http://me:p%40ss@127.0.0.1:{server.port}/v1")
    assert b"authorization: Basic bWU6cEBzcw==\r\n" in server.requests[0]


# TLS and proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {path} -out {path}.crt"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("There is no openssl to make a certificate with.")
    path.write_text(
        path.read_text(encoding="utf-8") + Path(f"{path}.crt").read_text(encoding="utf-8")
    )
    return path


def secured(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def ok(connection: socket.socket, number: int) -> bool:
    connection.sendall(answer(b"ok"))
    return True


def test_tls_with_a_certificate_that_is_trusted(
    loop: Loop, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with serving(ok, secured(certificate)) as server:
        replies = post(loop, f"https://127.0.0.1:{server.port}/", times=2)
    assert [reply.body for reply in replies] == [b"ok"] * 2
    assert server.connections == 1


def test_a_certificate_that_nobody_knows_is_not_accepted(loop: Loop, certificate: Path) -> None:
    with serving(ok, secured(certificate)) as server, pytest.raises(Untrusted, match="certificate"):
        post(loop, f"https://127.0.0.1:{server.port}/")
    assert server.requests == []


def test_a_server_without_tls_is_never_asked_over_it(loop: Loop) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        return False

    class Plain(RawServer):
        def talk(self, connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

    with serving(script) as server:
        server.talk = Plain(script).talk  # type: ignore[method-assign]
        with pytest.raises(NeverSent):
            post(loop, f"https://127.0.0.1:{server.port}/")


def test_a_plain_request_goes_through_the_proxy_of_the_environment(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(ok) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "elsewhere.test")
        post(loop, "http://far.test/v1/chat")
    head = proxy.requests[0]
    assert head.startswith(b"POST http://far.test/v1/chat HTTP/1.1\r\nhost: far.test\r\n")
    assert b"proxy-authorization: Basic bWU6c2VjcmV0\r\n" in head


def test_hosts_that_need_no_proxy_are_asked_themselves(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(ok) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert post(loop, server.url)[0].body == b"ok"


def test_tls_goes_through_a_tunnel(
    loop: Loop, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = secured(certificate)

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner = RawServer(ok)
        inner.talk(context.wrap_socket(connection, server_side=True))
        inside.extend(inner.requests)
        return False

    inside: list[bytes] = []
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with serving(script) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        replies = post(loop, "https://127.0.0.1:444/v1", times=2)
    assert [reply.body for reply in replies] == [b"ok"] * 2
    [asked] = proxy.requests
    assert asked.startswith(b"CONNECT 127.0.0.1:444 HTTP/1.1\r\nhost: 127.0.0.1:444\r\n")
    assert b"proxy-authorization: Basic bWU6c2VjcmV0\r\n" in asked
    assert all(b"proxy-authorization" not in request for request in inside)


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"", b"x" * 100_000]
)
def test_a_proxy_that_refuses_is_said(
    loop: Loop, says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(says)
        return False

    with serving(script) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(NeverSent, match="proxy"):
            post(loop, "https://127.0.0.1:444/v1")


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:secret@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(InvalidInput, match="socks5") as raised:
        route_to("https://far.test/")
    assert "secret" not in raised.value.message


def test_every_kind_of_failure_is_no_answer() -> None:
    assert all(issubclass(kind, NoAnswer) for kind in (NeverSent, Untrusted, Unheard, TooSlow))
