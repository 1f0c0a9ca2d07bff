"""Servers that speak raw bytes: they answer as a script says, however wrong that is."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Script = Callable[[socket.socket, int], bool]
"""Answers the n-th request of the server, from 1; returns whether the connection is read again."""


class RawServer:
    """What came in: requests with their heads, and how many connections."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def talk(self, connection: socket.socket) -> None:
        """Read requests of one connection and answer each, until one side has enough."""
        with connection, suppress(OSError):
            while (request := read_request(connection)) is not None:
                with self._lock:
                    self.requests.append(request)
                    number = len(self.requests)
                if not self.script(connection, number):
                    return


def read_request(connection: socket.socket) -> bytes | None:
    """Return one whole request, or None at the end."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            return None
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def serving(script: Script, secure: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Run a raw server on a free port."""
    server = RawServer(script)
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    server.port = listening.getsockname()[1]
    open_connections: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listening.accept()
                server.connections += 1
                open_connections.append(plain)
                threading.Thread(target=begin, args=(plain,), daemon=True).start()

    def begin(plain: socket.socket) -> None:
        with suppress(OSError):
            server.talk(plain if secure is None else secure.wrap_socket(plain, server_side=True))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(timeout=10)
        for connection in open_connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer as good servers write it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
