"""An endpoint with OpenAI's API that answers after a fixed time, and fails when it is told to.

`python benchmarks/endpoint.py PORT` serves it on one core. POST /plan sets how it behaves and sets all
counts to nothing; GET /counts returns them. Which attempt at a question fails, and how, follows from
the question alone, so every client meets the same faults.
"""

import asyncio
import hashlib
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson
import uvloop

_PHRASES = {200: "OK", 429: "Too Many Requests", 500: "Internal Server Error"}


@dataclass
class Plan:
    """How to behave."""

    latency: float = 0.2
    limited: float = 0.0
    """Share of requests that are answered 429 at once, with a wait of a second."""
    failing: float = 0.0
    """Share that is answered 500."""
    cut: float = 0.0
    """Share whose connection is cut without an answer."""
    right: float = 0.8
    """Share of questions that are answered right."""


@dataclass
class Counts:
    """What happened since the plan was set."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    first: float | None = None
    last: float | None = None
    first_at: float | None = None
    """By the clock on the wall, to be compared with a process's start."""

    def told(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        window = None if self.first is None or self.last is None else self.last - self.first
        return {
            "requests": self.requests,
            **self.kinds,
            "questions": len(self.attempts),
            "questions_answered": len(self.answered),
            "answered_again": sum(count - 1 for count in self.answered.values()),
            "connections": self.connections,
            "window_seconds": window,
            "first_at": self.first_at,
        }


PLAN, COUNTS = Plan(), Counts()


def share(*parts: object) -> float:
    """Return a number from 0 to 1 that follows from the parts."""
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest()) / 2**48


def truth(question: str) -> str:
    """Return the right answer to a question."""
    return hashlib.blake2b(question.encode(), digest_size=4).hexdigest()


class Connection(asyncio.Protocol):
    """One client's connection; one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is not one by its class
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""
        COUNTS.connections += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        url, body = self.url.decode(), self.body
        self.url, self.body = b"", b""
        if url == "/counts":
            self.send(200, COUNTS.told())
        elif url == "/plan":
            set_plan(orjson.loads(body))
            self.send(200, {})
        else:
            self.chat(orjson.loads(body))

    def chat(self, asked: dict[str, Any]) -> None:
        """Answer, or fail, when it is time."""
        question, model = asked["messages"][-1]["content"], asked["model"]
        key = f"{model}\0{question}"
        COUNTS.requests += 1
        COUNTS.attempts[key] += 1
        if COUNTS.first is None:
            COUNTS.first, COUNTS.first_at = time.perf_counter(), time.time()
        fate, loop = share("fate", key, COUNTS.attempts[key]), asyncio.get_running_loop()
        if fate < PLAN.limited:
            COUNTS.kinds["limited"] += 1
            self.send(429, {"error": {"message": "slow down", "code": "rate_limit"}}, wait=1)
        elif fate < PLAN.limited + PLAN.failing:
            COUNTS.kinds["failed"] += 1
            loop.call_later(PLAN.latency, self.send, 500, {"error": {"message": "oh"}})
        elif fate < PLAN.limited + PLAN.failing + PLAN.cut:
            COUNTS.kinds["cut"] += 1
            loop.call_later(PLAN.latency / 2, self.transport.abort)
        else:
            loop.call_later(PLAN.latency, self.answer, key, question, model)

    def answer(self, key: str, question: str, model: str) -> None:
        """Send a completion."""
        if self.transport.is_closing():
            return
        COUNTS.answered[key] += 1
        COUNTS.kinds["answered"] += 1
        text = truth(question)
        if share("right", question) >= PLAN.right:
            text = f"x{text}"
        message = {"role": "assistant", "content": text}
        self.send(
            200,
            {
                "id": "chatcmpl-0",
                "object": "chat.completion",
                "created": 0,
                "model": model,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24},
            },
        )
        COUNTS.last = time.perf_counter()

    def send(self, status: int, value: Any, *, wait: int | None = None) -> None:
        """Send JSON."""
        if self.transport.is_closing():
            return
        body = orjson.dumps(value)
        later = "" if wait is None else f"Retry-After: {wait}\r\n"
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: application/json\r\n{later}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def set_plan(given: dict[str, Any]) -> None:
    """Behave otherwise from now on, and forget what was counted."""
    fresh, counts = Plan(**given), Counts()
    vars(PLAN).update(vars(fresh))
    vars(COUNTS).update(vars(counts))


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
