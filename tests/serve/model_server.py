"""A stand-in for vLLM: the same routes, over real sockets, and adapters that must be real folders."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BASE = "tiny"


class ModelServer:
    """Says the model's name and the last question, word by word."""

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.slow_load = threading.Event()
        self.slow_load.set()
        self.broken: tuple[int, dict[str, Any]] | None = None
        self.stop_after: int | None = None
        self._changing = threading.Lock()
        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.server.stub = self

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def load(self, name: str, path: str) -> tuple[int, Any]:
        assert self.slow_load.wait(20)
        with self._changing:
            if name in self.adapters:
                return 400, error(f"The lora adapter '{name}' has already been loaded.", 400)
            if not (Path(path) / "adapter_config.json").is_file():
                return 404, error(f"No adapter found for {path}", 404)
            self.adapters[name] = path
            self.loads.append(name)
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, name: str) -> tuple[int, Any]:
        with self._changing:
            if name not in self.adapters:
                return 404, error(f"The lora adapter '{name}' cannot be found.", 404)
            del self.adapters[name]
            self.unloads.append(name)
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def chunks(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "prompt" in body:
            words = f"goes on after {body['prompt']}".split(" ")
        else:
            words = f"{body['model']} heard {body['messages'][-1]['content']}".split(" ")
        limit = body.get("max_tokens", 100)
        reason = "length" if limit < len(words) else "stop"
        tokens = [word if not n else " " + word for n, word in enumerate(words)][:limit]
        frame = {"id": "chatcmpl-of-theirs", "object": "x", "created": 1, "model": body["model"]}
        choices = range(body.get("n", 1))
        for index in choices:
            if "messages" in body:
                first = {"delta": {"role": "assistant", "content": ""}, "finish_reason": None}
                yield frame | {"choices": [first | {"index": index}]}
            for token in tokens:
                yield frame | {"choices": [piece(index, token, body)]}
            last = {"index": index, "finish_reason": reason, "text": "", "delta": {"content": ""}}
            yield frame | {"choices": [last]}
        usage = {"prompt_tokens": 5, "completion_tokens": len(tokens) * len(choices)}
        yield frame | {"choices": [], "usage": usage | {"total_tokens": sum(usage.values())}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Quiet"

    def do_GET(self) -> None:
        cards = [{"id": BASE, "parent": None}]
        cards += [{"id": name, "parent": BASE} for name in self.server.stub.adapters]
        self.reply(200, {"object": "list", "data": cards})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.stub.broken is not None:
            self.reply(*self.server.stub.broken)
        elif self.path == "/v1/load_lora_adapter":
            self.reply(*self.server.stub.load(body["lora_name"], body["lora_path"]))
        elif self.path == "/v1/unload_lora_adapter":
            self.reply(*self.server.stub.unload(body["lora_name"]))
        else:
            self.server.stub.bodies.append(body)
            self.answer(body)

    def answer(self, body: dict[str, Any]) -> None:
        if body["model"] not in (BASE, *self.server.stub.adapters):
            self.reply(404, error(f"The model `{body['model']}` does not exist.", 404))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()
        for number, chunk in enumerate(self.server.stub.chunks(body)):
            if number == self.server.stub.stop_after:
                break
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()
        else:
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def reply(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    stub: "ModelServer"

    def handle_error(self, *_: Any) -> None:
        pass  # a client that went away


def piece(index: int, token: str, body: dict[str, Any]) -> dict[str, Any]:
    if "prompt" in body:
        found: dict[str, Any] = {"index": index, "text": token, "finish_reason": None}
        if "logprobs" in body:
            tops = [{token: -0.5, " other": -1.5}]
            found["logprobs"] = {
                "tokens": [token],
                "token_logprobs": [-0.5],
                "top_logprobs": tops,
            }
        return found
    found = {"index": index, "delta": {"content": token}, "finish_reason": None}
    if body.get("logprobs"):
        entry = {"token": token, "logprob": -0.5, "bytes": list(token.encode())}
        others = [entry, {"token": " other", "logprob": -1.5, "bytes": None}]
        content = [entry | {"top_logprobs": others[: body.get("top_logprobs", 0)]}]
        found["logprobs"] = {"content": content}
    return found


def error(message: str, status: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run a stand-in on a free port."""
    stub = ModelServer()
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
