"""What the real service does that a model server on one's own machine does not.

Sources: the quirks were seen in recorded traffic of the real API; none was tried against it.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

WINDING_DOWN = (
    "OpenAI is winding down the fine-tuning platform and your organization is no longer able to "
    "create new fine-tuning training jobs."
)
_FAULTS = ("429", "500", "503", "cut")


@dataclass
class Quirks:
    """What goes wrong; a test may change it while the stand-in runs."""

    empty_errors: bool = True
    """A job that has not failed says `error: {}`, and `hyperparameters: null` unless supervised."""
    no_new_jobs: bool = False
    """Creating a job is refused with 403 `training_not_available`."""
    most_listed: int | None = None
    """Most objects of a page, whatever was asked for."""
    fault_share: float = 0.0
    """Share of requests that get 429, 500, 503 or half an answer, drawn with `seed`."""
    seed: int = 0
    seconds: float = 0.0
    """How long every answer takes."""
    silent_after: int | None = None
    """After so many requests every connection is cut."""
    missing: set[str] = field(default_factory=set)
    """Ids that lists name and that are not there when they are asked for."""
    forbidden: set[str] = field(default_factory=set)
    """Ids that the key may not see."""
    forbidden_status: int = 403
    """What is said of those; the real service says 401 of restricted keys too."""


class Quirky:
    """The application behind its quirks; counts what was asked and what went wrong."""

    def __init__(self, app: ASGIApp, quirks: Quirks) -> None:
        self.quirks = quirks
        self.asked: Counter[str] = Counter()
        """Method and path of every request, the query left out."""
        self.faults: Counter[str] = Counter()
        self._app = app
        self._random = random.Random(quirks.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        quirks, path = self.quirks, unquote(scope["path"])
        self.asked[f"{scope['method']} {path}"] += 1
        if quirks.seconds:
            await asyncio.sleep(quirks.seconds)
        refusal = self._refusal(scope["method"], path)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        if quirks.silent_after is not None and self.asked.total() > quirks.silent_after:
            send = _Cut(send).send
        fault = self._random.choice(_FAULTS) if self._random.random() < quirks.fault_share else ""
        if fault:
            self.faults[fault] += 1
        if fault.isdigit():
            await _answer(send, int(fault), _error("Try again.", None, None))
            return
        if quirks.most_listed is not None:
            scope = _with_small_page(scope, quirks.most_listed)
        if fault == "cut":
            send = _Cut(send).send
        elif quirks.empty_errors and path.startswith("/v1/fine_tuning/jobs"):
            send = _Rewritten(send).send
        await self._app(scope, receive, send)

    def _refusal(self, method: str, path: str) -> tuple[int, dict[str, Any]] | None:
        parts = set(path.split("/"))
        if parts & self.quirks.missing:
            return 404, _error(f"No such object: {path}", "id", None)
        if parts & self.quirks.forbidden:
            words = (
                "You have insufficient permissions for this operation. Missing scopes: api.read."
            )
            return self.quirks.forbidden_status, _error(words, None, None)
        if self.quirks.no_new_jobs and (method, path) == ("POST", "/v1/fine_tuning/jobs"):
            return 403, _error(WINDING_DOWN, None, "training_not_available")
        return None


class _Cut:
    """Promises the whole answer, gives half of it, and hangs up."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            message = {**message, "body": body[: len(body) // 2], "more_body": True}
        await self._send(message)


class _Rewritten:
    """Says of jobs what the real service says where nothing is to be said."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = json.dumps(_with_quirks(json.loads(self._body))).encode()
        headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _with_quirks(value: Any) -> Any:
    if value.get("object") == "list":
        return value | {"data": [_with_quirks(each) for each in value["data"]]}
    if value.get("object") != "fine_tuning.job":
        return value
    if value["error"] == {"code": "", "message": "", "param": None}:
        value = value | {"error": {}}
    return value if value["hyperparameters"] else value | {"hyperparameters": None}


def _with_small_page(scope: Scope, most: int) -> Scope:
    query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    query["limit"] = str(min(most, int(query.get("limit") or most)))
    return {**scope, "query_string": urlencode(query).encode()}


def _error(message: str, param: str | None, code: str | None) -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return {"error": error}


async def _answer(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 429:
        headers.append((b"retry-after", b"0.05"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
