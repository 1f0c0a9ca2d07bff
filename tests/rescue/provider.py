"""A provider that answers as it is told, and remembers what it was asked."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], Any]
EMPTY: Reply = (200, {}, {"object": "list", "data": [], "has_more": False})


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    """By small letters."""


@dataclass
class Provider:
    """Where it listens; `answer` may be changed while it runs."""

    url: str
    answer: Callable[[Asked], Reply] = lambda asked: EMPTY
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def provider(answer: Callable[[Asked], Reply] = lambda asked: EMPTY) -> Iterator[Provider]:
    """Listen on a free port while the block runs."""
    made = Provider("", answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers)
            made.asked.append(asked)
            status, more, value = made.answer(asked)
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in (more | {"content-type": "application/json"}).items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _reply

        def log_message(self, *_: Any) -> None:
            """Keep silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusal(status: int, message: str, code: str | None = None) -> Reply:
    """Return an error in OpenAI's form."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return status, {}, {"error": error}
