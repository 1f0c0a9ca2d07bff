"""The child of a worker that carries out a batch: `python -m selftune.batching run JOB TOKEN`.

A request of a batch is answered by the API itself, in this process and without a network, so it is
checked and answered as the same POST would be. The worker stands below the API, and knows this
module by its name only.
"""

import asyncio
import sys
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import msgspec
import orjson
from starlette.applications import Starlette

from selftune import worker, workflow
from selftune.api.errors import error_body
from selftune.api.upstream.account import named_upstream
from selftune.asgi import application
from selftune.core.errors import Unavailable
from selftune.core.records import Job
from selftune.jobs.queue import BATCH, Lease
from selftune.models.requests import asked_wait
from selftune.serve.batches.answers import Reply
from selftune.store.accounts import default_identity
from selftune.store.store import Store

_REFUSED, _BAD_GATEWAY = 400, 502


def carry_out(store: Store, job: Job, lease: Lease) -> None:
    """Carry out one batch for the project that it belongs to.

    Its requests go where those of the server go: to the account upstream too, if one is named.
    """
    caller = default_identity(store).model_copy(
        update={"project_id": job.project_id, "key_id": job.id, "is_admin": False}
    )
    # A batch is no part of what its project may send in a minute
    settings = store.settings.model_copy(update={"requests_per_minute": sys.maxsize})
    store_of_batch = replace(store, settings=settings)
    inside = Inside(application(store_of_batch, caller=caller, upstream=named_upstream(store)))
    workflow.run_batch(store, job, lease, inside.ask, inside.close)


class Inside:
    """Asks an application in this process."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def ask(self, path: str, body: bytes) -> Reply:
        """Return what the application answers to a POST."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ],
            "client": None,
            "server": ("localhost", None),
        }
        told = _Told(body)
        await self._app(scope, told.receive, told.send)
        return told.reply

    async def close(self) -> None:
        """End the application's connections, as its server does: by a lifespan that is over at once."""
        todo = ["lifespan.shutdown", "lifespan.startup"]

        async def receive() -> dict[str, Any]:
            return {"type": todo.pop()}

        async def send(_message: MutableMapping[str, Any]) -> None:
            return

        await self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)


class _Told:
    """Both ends of one exchange."""

    def __init__(self, body: bytes) -> None:
        self._todo: list[bytes] = [body]
        self._status, self._headers = 0, dict[bytes, bytes]()
        self._parts: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        if self._todo:
            return {"type": "http.request", "body": self._todo.pop(), "more_body": False}
        return await asyncio.Future()  # who asks stays until the answer is there

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], dict(message["headers"])
        else:
            self._parts.append(message.get("body", b""))

    @property
    def reply(self) -> Reply:
        """What was answered, on one line: an account upstream may write it on many."""
        name = self._headers[b"x-request-id"].decode("latin-1")
        wait_seconds = asked_wait(self._headers)
        try:
            body = msgspec.json.format(b"".join(self._parts).decode(), indent=-1)
        except (msgspec.DecodeError, UnicodeDecodeError):
            status = self._status if self._status >= _REFUSED else _BAD_GATEWAY
            return Reply(status, name, orjson.dumps(error_body(_unreadable())), wait_seconds)
        return Reply(self._status, name, body.encode(), wait_seconds)


def _unreadable() -> Unavailable:
    return Unavailable(
        "What the account upstream answered is no JSON, or was cut.", code="upstream_unreadable"
    )


if __name__ == "__main__":
    sys.exit(worker.main(verbs={BATCH: carry_out}))
