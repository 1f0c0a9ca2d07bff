"""The Batch API: the same questions for less money, answered within a day.

Every step is written down by the caller's `book` before the next one, so that a run that was
killed goes on with the batch that it has. A batch is found by its key in the batches' metadata, so
that a kill between creating and writing down does not create a second one.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from selftune.core.errors import Unavailable
from selftune.models.answers import Answer, Question, read_completion
from selftune.models.endpoint import Endpoint, client_arguments, place, raise_if_hopeless

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch as RemoteBatch

MOST_QUESTIONS = 50_000
"""OpenAI's limit of requests in one batch."""
MOST_BYTES = 190_000_000
"""A little under OpenAI's limit of 200 MB for a batch's file."""
_TAG = "selftune"
_OVER = ("completed", "failed", "expired", "cancelled")
_NOT_ACCEPTED = (400, 413, 422)


class Batch(NamedTuple):
    """How far a batch has come: nothing, an uploaded file, a batch that runs."""

    file_id: str | None = None
    batch_id: str | None = None


class Book(Protocol):
    """Where the steps of a batch are written down."""

    def batch(self, key: str) -> Batch:
        """Return how far a batch has come."""
        ...

    def note_batch(self, key: str, batch: Batch) -> None:
        """Write how far a batch has come; on disk when this returns."""
        ...


class Waiting(NamedTuple):
    """How to wait for a batch."""

    poll_seconds: float = 30.0
    on_progress: Callable[[int, int], None] = lambda done, total: None
    """Called with finished and all questions."""


def ask_by_batch(
    endpoint: Endpoint, key: str, questions: Sequence[Question], book: Book, waiting: Waiting
) -> list[Answer]:
    """Return an answer to every question of one batch, in their order.

    Raises:
        AuthenticationFailed, PermissionDenied, NotFound, InvalidInput: it can never work.
        Unavailable: the connection was lost or the account has no credit; ask again later.

    """
    from openai import APIError, OpenAI

    try:
        with OpenAI(**client_arguments(endpoint), max_retries=5) as client:
            remote = _follow(client, _begun(client, key, questions, book), waiting)
            found = {answer.key: answer for answer in _answers(client, remote, questions)}
    except APIError as error:
        raise_if_hopeless(endpoint, getattr(error, "status_code", 500), error.code, error.message)
        raise Unavailable(
            f"{place(endpoint)} does not take the batch: {error.message} Run the same again to go "
            "on with it."
        ) from error
    lost = f"The batch is {remote.status} without an answer to it. {_errors(remote)}".strip()
    return [
        found.get(asked.key) or Answer(key=asked.key, status="failed", reason=lost)
        for asked in questions
    ]


def portions(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Yield the questions in portions that each fit into one batch."""
    portion: list[Question] = []
    size = 0
    for asked in questions:
        length = len(_line(asked))
        if portion and (len(portion) == MOST_QUESTIONS or size + length > MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(asked)
        size += length
    if portion:
        yield portion


def _begun(client: "OpenAI", key: str, questions: Sequence[Question], book: Book) -> str:
    """Return the id of the batch, which is created unless it was."""
    file_id, batch_id = book.batch(key)
    if batch_id is not None:
        return batch_id
    if file_id is None:
        lines = b"".join(_line(asked) for asked in questions)
        name = f"selftune-{key[:16]}.jsonl"
        file_id = client.files.create(file=(name, lines), purpose="batch").id
        book.note_batch(key, Batch(file_id))
        created = None
    else:  # an earlier process may have created it and not lived to write it down
        created = _tagged(client, key, file_id)
    if created is None:
        once = client.with_options(max_retries=0)  # a blind retry could create a second one
        created = once.batches.create(
            input_file_id=file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={_TAG: key},
            extra_headers={"Idempotency-Key": key},
        ).id
    book.note_batch(key, Batch(file_id, created))
    return created


def _tagged(client: "OpenAI", key: str, file_id: str) -> str | None:
    for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(_TAG) == key or batch.input_file_id == file_id:
            return batch.id
    return None


def _follow(client: "OpenAI", batch_id: str, waiting: Waiting) -> "RemoteBatch":
    """Return the batch when it is over."""
    while True:
        batch = client.batches.retrieve(batch_id)
        if batch.request_counts is not None:
            done = batch.request_counts.completed + batch.request_counts.failed
            waiting.on_progress(done, batch.request_counts.total)
        if batch.status in _OVER:
            return batch
        time.sleep(waiting.poll_seconds)


def _answers(
    client: "OpenAI", batch: "RemoteBatch", questions: Sequence[Question]
) -> Iterator[Answer]:
    by_key = {asked.key: asked for asked in questions}
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id is None:
            continue
        for line in client.files.content(file_id).text.split("\n"):
            entry = _entry(line)
            asked = by_key.get(str(entry.get("custom_id")))
            if asked is not None:
                yield _answer(asked, entry)


def _entry(line: str) -> dict[str, Any]:
    """Return one line of a batch's file; a line that is none holds no answer."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _answer(asked: Question, entry: dict[str, Any]) -> Answer:
    response = entry.get("response") or {}
    status, body = response.get("status_code"), response.get("body") or {}
    if status == 200:
        try:
            return read_completion(asked, json.dumps(body))
        except ValueError as error:
            return Answer(key=asked.key, status="failed", reason=str(error), unheard=1)
    fault = entry.get("error") or body.get("error") or {}
    reason = str(fault.get("message") or f"The batch says {status}.")
    if status in _NOT_ACCEPTED:
        return Answer(key=asked.key, status="rejected", reason=reason)
    return Answer(key=asked.key, status="failed", reason=reason)


def _errors(batch: "RemoteBatch") -> str:
    found = (batch.errors.data if batch.errors is not None else None) or []
    return " ".join(str(error.message) for error in found[:3])


def _line(asked: Question) -> bytes:
    entry = {
        "custom_id": asked.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asked.body,
    }
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
