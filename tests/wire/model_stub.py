"""An endpoint that plays a hosted model: it answers by rule, and counts what it was asked."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Rule = Callable[[dict[str, Any]], "str | int"]
"""A request's body -> the answer's text, or an HTTP status that refuses it."""


class ModelStub:
    """One endpoint; `asked` has every request's last message with how often it came."""

    def __init__(self, rule: Rule, seconds: float = 0.0) -> None:
        self.rule, self.seconds = rule, seconds
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, answer = stub.answer(body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                return  # who asked was killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.asked[str(body["messages"][-1]["content"])] += 1
            self.bodies.append(body)
        time.sleep(self.seconds)
        said = self.rule(body)
        if isinstance(said, int):
            return said, {"error": {"message": "no", "type": "t", "param": None, "code": None}}
        message = {"role": "assistant", "content": said}
        return 200, {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }


@contextmanager
def playing(rule: Rule, seconds: float = 0.0) -> Iterator[ModelStub]:
    """Serve a stub while the block runs."""
    stub = ModelStub(rule, seconds)
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()


def name_models(home: Path, stub: ModelStub, *models: str) -> None:
    """Say in a home folder that an endpoint answers for models."""
    text = f'[[endpoint]]\nmodels = {json.dumps(models)}\nbase_url = "{stub.url}"\n'
    (home / "endpoints.toml").write_text(text, encoding="utf-8")
