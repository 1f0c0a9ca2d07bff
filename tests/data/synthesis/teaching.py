"""A local teacher: it answers by schema and labels, and fails in every way that is asked of it."""

import asyncio
import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

WORDS = [
    "lamp",
    "river",
    "yellow",
    "borrow",
    "seven",
    "window",
    "market",
    "quiet",
    "engine",
    "pepper",
    "morning",
    "letter",
    "cousin",
    "bridge",
    "garden",
    "train",
    "pocket",
    "silver",
    "winter",
    "kitchen",
    "doctor",
    "orange",
    "ticket",
    "machine",
    "village",
    "button",
    "castle",
    "summer",
    "paper",
    "island",
    "coffee",
    "mirror",
    "station",
    "bicycle",
    "harbour",
    "blanket",
    "teacher",
    "planet",
    "hammer",
    "cloud",
]
Fault = str
Reply = Callable[[dict[str, Any]], str]


class Teacher:
    """What the server knows: its faults to come, its answers, and who has paid for what."""

    def __init__(self) -> None:
        self.url = ""
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.faults: list[Fault] = []
        """Taken one by one, by requests in the order that they come."""
        self.reply: Reply = reply_by_schema
        self.message: dict[str, Any] | None = None
        """What every answer is, where it is not a text."""
        self.delay_seconds = 0.0
        self.tokens = {"prompt_tokens": 50, "completion_tokens": 20}
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.paid: Counter[str] = Counter()
        """How often each idempotency key was charged."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.busy = 0
        self.busiest = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls_until_done = 1
        self.batch_faults: dict[int, Fault] = {}
        self.stored: list[dict[str, Any]] = []

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        key = request.headers.get("idempotency-key", "")
        self.requests.append(body)
        self.keys.append(key)
        self.headers.append(dict(request.headers))
        fault = self.faults.pop(0) if self.faults else ""
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self.delay_seconds)
        finally:
            self.busy -= 1
        if fault in ERRORS:
            status, error = ERRORS[fault]
            return JSONResponse({"error": error}, status, headers={"retry-after": "0.01"})
        if fault in WAITS:
            return JSONResponse(
                {"error": {"message": "slow down"}}, 429, {"retry-after": WAITS[fault]}
            )
        if fault == "cut":
            return Cut()
        if fault == "a page":
            return PlainTextResponse("<html>Bad gateway</html>")
        answer = self.answered(key, body, fault)
        return Cut() if fault == "cut after paying" else JSONResponse(answer)

    def answered(self, key: str, body: dict[str, Any], fault: Fault = "") -> dict[str, Any]:
        """Answer, and charge, once for each key."""
        if key not in self.answers:
            self.paid[key] += 1
            self.answers[key] = self.completion(body, fault)
        return self.answers[key]

    def completion(self, body: dict[str, Any], fault: Fault = "") -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        finish = "stop"
        if fault == "refusal":
            message["refusal"] = "I will not write that."
        elif fault == "malformed":
            message["content"] = '{"examples": [{"text": "a'
        elif fault == "too long":
            message["content"], finish = '{"examples": [', "length"
        elif self.message is not None:
            message = self.message
        else:
            message["content"] = self.reply(body)
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": f"{body['model']}-2026-01-01",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": self.tokens | {"total_tokens": sum(self.tokens.values())},
        }

    async def upload(self, request: Request) -> Response:
        name = f"file-{len(self.files)}"
        async with request.form() as form:
            handle = form["file"]
            assert not isinstance(handle, str)
            self.files[name] = await handle.read()
        return JSONResponse(
            {
                "id": name,
                "object": "file",
                "bytes": len(self.files[name]),
                "created_at": 0,
                "filename": handle.filename,
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def content(self, request: Request) -> Response:
        return Response(self.files[request.path_params["name"]])

    async def create_batch(self, request: Request) -> Response:
        body = await request.json()
        fault = self.batch_faults.get(len(self.batches), "")
        if fault in ERRORS:
            status, error = ERRORS[fault]
            return JSONResponse({"error": error}, status)
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "created_at": 0,
            "status": "in_progress",
            "metadata": body.get("metadata"),
            "polls": 0,
        }
        return Cut() if fault == "cut" else JSONResponse(self.batches[name])

    async def list_batches(self, request: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": list(self.batches.values()), "has_more": False}
        )

    async def show_batch(self, request: Request) -> Response:
        batch = self.batches[request.path_params["name"]]
        batch["polls"] += 1
        if batch["polls"] >= self.polls_until_done and batch["status"] == "in_progress":
            self._finish(batch)
        return JSONResponse(batch)

    def _finish(self, batch: dict[str, Any]) -> None:
        lines: list[Any] = []
        errors: list[Any] = []
        fault = self.batch_faults.get(int(batch["id"].split("_")[1]), "")
        if fault == "failed":
            errors = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}]
            batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
            return
        for number, line in enumerate(self.files[batch["input_file_id"]].splitlines()):
            entry = json.loads(line)
            done = {"id": f"r-{number}", "custom_id": entry["custom_id"], "error": None}
            if fault == "some fail" and number % 2:
                body = {"error": {"message": "server had an error"}}
                errors.append(done | {"response": {"status_code": 500, "body": body}})
            elif fault == "some rejected" and number % 2:
                body = {"error": {"message": "too long"}}
                errors.append(done | {"response": {"status_code": 400, "body": body}})
            elif fault == "some broken" and number % 2:
                lines.append(done | {"response": {"status_code": 200, "body": {"id": "x"}}})
            elif fault == "expired" and number % 2:
                error = {"code": "batch_expired", "message": "This request expired."}
                errors.append(done | {"response": None, "error": error})
            else:
                body = self.answered(entry["custom_id"], entry["body"])
                lines.append(done | {"response": {"status_code": 200, "body": body}})
        lines.reverse()  # the order of a batch's answers is not that of its questions
        for field, found in (("output_file_id", lines), ("error_file_id", errors)):
            if found:
                batch[field] = f"file-{len(self.files)}"
                self.files[batch[field]] = b"".join(
                    json.dumps(one).encode() + b"\n" for one in found
                )
        batch["status"] = "expired" if fault == "expired" else "completed"

    async def list_stored(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.stored, "has_more": False})

    async def stored_messages(self, request: Request) -> Response:
        found = next(one for one in self.stored if one["id"] == request.path_params["name"])
        return JSONResponse({"object": "list", "data": found["input"], "has_more": False})


class Cut(Response):
    """End the connection in the middle of the answer."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id": ', "more_body": True})
        raise ConnectionAbortedError("cut on purpose")


ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "429": (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "The server had an error"}),
    "503": (503, {"message": "Overloaded"}),
    "400": (400, {"message": "Invalid parameter: response_format"}),
    "401": (401, {"message": "Incorrect API key provided: sk-very-secret"}),
    "403": (403, {"message": "Not for you"}),
    "404": (404, {"message": "The model does not exist"}),
    "quota": (429, {"message": "You exceeded your quota", "code": "insufficient_quota"}),
    "filtered": (400, {"message": "The content was filtered", "code": "content_filter"}),
}

WAITS = {
    "429 for an hour": "3600",
    "429 until 2100": "Fri, 01 Jan 2100 00:00:00 GMT",
    "429 until 1990": "Mon, 01 Jan 1990 00:00:00 GMT",
    "429 some day": "some day",
}


def sentence(dice: random.Random) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randint(6, 12)))


def reply_by_schema(body: dict[str, Any]) -> str:
    """Answer as the request's own words and schema ask for."""
    prompt = body["messages"][-1]["content"]
    dice = random.Random(json.dumps(body, sort_keys=True))
    form = body.get("response_format", {})
    if not form:
        return f"answer to {prompt[:40]}"
    if '"paraphrases"' in prompt:
        number = int(re.search(r"Write (\d+) other ways", prompt)[1])  # type: ignore[index]
        return json.dumps({"paraphrases": [sentence(dice) for _ in range(number)]})
    wanted = re.findall(r"^- (\d+) for label (.+)$", prompt, re.MULTILINE)
    if wanted:
        examples = [
            {"text": sentence(dice), "label": label}
            for number, label in wanted
            for _ in range(int(number))
        ]
        return json.dumps({"examples": examples})
    number = int(re.search(r"Write (\d+) new examples", prompt)[1])  # type: ignore[index]
    pairs = [{"text": sentence(dice), "answer": sentence(dice)} for _ in range(number)]
    return json.dumps({"examples": pairs})


@contextmanager
def teaching() -> Iterator[Teacher]:
    """Run a teacher on a free port."""
    teacher = Teacher()
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", teacher.complete, methods=["POST"]),
            Route("/v1/chat/completions", teacher.list_stored, methods=["GET"]),
            Route("/v1/chat/completions/{name}/messages", teacher.stored_messages),
            Route("/v1/files", teacher.upload, methods=["POST"]),
            Route("/v1/files/{name}/content", teacher.content),
            Route("/v1/batches", teacher.create_batch, methods=["POST"]),
            Route("/v1/batches", teacher.list_batches, methods=["GET"]),
            Route("/v1/batches/{name}", teacher.show_batch),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    teacher.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield teacher
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listening.close()
