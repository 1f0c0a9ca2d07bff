"""Batches. A batch is a job too: the queue has its state, and this has what is asked and how far.

What was answered is in files: while a batch runs, in a folder of its own; at its end, in two files
of the project.
"""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.pages import Page, page_of
from selftune.core.records import JobError, JobStatus, Record
from selftune.store.schema import batches, job_metadata, jobs
from selftune.store.store import Store


class LineError(Record):
    """Why a batch was not begun."""

    code: str
    message: str
    line: int | None = None
    """Of the input file, from 1."""
    param: str | None = None


class BatchUsage(Record):
    """Tokens of all answers so far."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "BatchUsage") -> "BatchUsage":
        """Return the sum."""
        return BatchUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class Batch(Record):
    """Many requests in a file, answered when there is time."""

    id: str
    project_id: str
    endpoint: str
    """Path that each of its requests is for, such as `/v1/chat/completions`."""
    model: str | None = None
    """The one that all requests name; None until they were read."""
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None = None
    status: JobStatus
    """Of its job; the times below say the rest."""
    created_at: int
    expires_at: int
    output_seconds: int | None = None
    """For how long its files are kept; None is for ever."""
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    finished_at: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: BatchUsage = BatchUsage()
    errors: tuple[LineError, ...] = ()
    error: JobError | None = None
    """Why it could not go on, if that is not in its lines."""
    output_file_id: str | None = None
    error_file_id: str | None = None


_OF_JOB = ("project_id", "status", "created_at", "finished_at", "error")
_JSON = ("usage", "errors")
_COLUMNS = [column for column in batches.c if column.name != "position"]


def insert_batch(connection: Connection, batch: Batch) -> None:
    """Store a batch beside its job, in a transaction of the caller's."""
    values = batch.model_dump(exclude={*_OF_JOB, "metadata"}, mode="json")
    connection.execute(batches.insert().values(values | _as_text(values)))


def note_batch(connection: Connection, batch_id: str, **values: Any) -> None:
    """Write down how far a batch has come, in a transaction that holds its job."""
    told = {name: _plain(value) for name, value in values.items()}
    query = batches.update().where(batches.c.id == batch_id)
    connection.execute(query.values(told | _as_text(told)))


def get_batch(store: Store, project_id: str, batch_id: str) -> Batch:
    """Return one batch of a project.

    Raises:
        NotFound: in OpenAI's words.

    """
    with store.db.read() as connection:
        found = _batches().where(batches.c.id == batch_id, jobs.c.project_id == project_id)
        row = connection.execute(found).first()
        if row is None:
            raise NotFound(f"No batch found with id '{batch_id}'.")
        return _records(connection, [row])[0]


def get_batch_in(connection: Connection, batch_id: str) -> Batch:
    """Return a batch that is there, as a transaction of the caller's sees it."""
    row = connection.execute(_batches().where(batches.c.id == batch_id)).one()
    return _records(connection, [row])[0]


def list_batches(store: Store, project_id: str, *, after: str | None, limit: int) -> Page[Batch]:
    """Return a page of batches, newest first."""
    own = jobs.c.project_id == project_id
    query = _batches().where(own).order_by(batches.c.position.desc()).limit(limit + 1)
    with store.db.read() as connection:
        if after is not None:
            mark = select(batches.c.position).join(jobs, jobs.c.id == batches.c.id)
            place = connection.execute(mark.where(batches.c.id == after, own)).scalar()
            if place is None:
                raise InvalidInput(f"No batch found with id '{after}'.", param="after")
            query = query.where(batches.c.position < place)
        found = _records(connection, connection.execute(query).all())
    return page_of(found, limit)


def _batches() -> Select[Any]:
    joined = [jobs.c[name] for name in _OF_JOB]
    return select(*_COLUMNS, *joined).join(jobs, jobs.c.id == batches.c.id)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.model_dump(mode="json") if isinstance(value, Record) else value


def _as_text(values: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(values[name]) for name in _JSON if name in values}


def _records(connection: Connection, rows: Iterable[Row[Any]]) -> list[Batch]:
    found = [dict(row._mapping) for row in rows]
    pairs = select(job_metadata).where(job_metadata.c.job_id.in_([each["id"] for each in found]))
    metadata: dict[str, dict[str, str]] = {}
    for pair in connection.execute(pairs) if found else ():
        metadata.setdefault(pair.job_id, {})[pair.key] = pair.value
    for values in found:
        for name in (*_JSON, "error"):
            values[name] = None if values[name] is None else json.loads(values[name])
        values["metadata"] = metadata.get(values["id"])
    return [Batch.model_validate(values) for values in found]
