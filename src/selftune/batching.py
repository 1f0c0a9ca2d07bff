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

from starlette.applications import Starlette

from selftune import worker, workflow
from selftune.asgi import application
from selftune.core.records import Job
from selftune.jobs.queue import BATCH, Lease
from selftune.serve.batches.answers import Reply
from selftune.store.accounts import default_identity
from selftune.store.store import Store


def carry_out(store: Store, job: Job, lease: Lease) -> None:
    """Carry out one batch for the project that it belongs to."""
    caller = default_identity(store).model_copy(
        update={"project_id": job.project_id, "key_id": job.id, "is_admin": False}
    )
    # A batch is no part of what its project may send in a minute
    settings = store.settings.model_copy(update={"requests_per_minute": sys.maxsize})
    inside = Inside(application(replace(store, settings=settings), caller=caller))
    workflow.run_batch(store, job, lease, inside.ask)


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


class _Told:
    """Both ends of one exchange."""

    def __init__(self, body: bytes) -> None:
        self._todo: list[bytes] = [body]
        self._status, self._request_id = 0, ""
        self._parts: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        if self._todo:
            return {"type": "http.request", "body": self._todo.pop(), "more_body": False}
        return await asyncio.Future()  # who asks stays until the answer is there

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._request_id = dict(message["headers"])[b"x-request-id"].decode()
        else:
            self._parts.append(message.get("body", b""))

    @property
    def reply(self) -> Reply:
        return Reply(self._status, self._request_id, b"".join(self._parts))


if __name__ == "__main__":
    sys.exit(worker.main(verbs={BATCH: carry_out}))
