"""The queue: jobs are rows, and a worker owns one while it holds an unexpired lease.

Whoever writes for a running job proves the lease in the same transaction (`fenced`), so a worker
that was declared dead cannot write over its successor.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, and_, or_, select

from selftune.core.errors import InvalidInput, LeaseLost, NotFound
from selftune.core.pages import Page, page_of
from selftune.core.records import Job, JobError, JobStatus, Record
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.owners import is_gone
from selftune.jobs.states import CLAIMABLE, check_move
from selftune.store.schema import job_metadata, jobs
from selftune.store.store import Store

_COLUMNS = [jobs.c[name] for name in Job.model_fields if name not in ("metadata",)]


class Lease(Record):
    """Proof of owning a job."""

    job_id: str
    token: str


class Requests(Record):
    """What the outside wants of a running job."""

    cancel: bool
    pause: bool


def enqueue(store: Store, connection: Connection, job: Job, first: tuple[NewEvent, ...]) -> None:
    """Store a new job and its first events in a transaction of the caller's."""
    values = job.model_dump(exclude={"metadata"}) | {
        "spec": json.dumps(job.spec),
        "state": json.dumps(job.state),
        "error": None,
        "cancel_requested": 0,
        "pause_requested": 0,
    }
    connection.execute(jobs.insert().values(values))
    for key, value in (job.metadata or {}).items():
        connection.execute(job_metadata.insert().values(job_id=job.id, key=key, value=value))
    append_events(store, connection, job.id, first)


def get_job(store: Store, project_id: str, job_id: str) -> Job:
    """Return one job of a project.

    Raises:
        NotFound: in OpenAI's words.

    """
    with store.db.read() as connection:
        return _get(connection, job_id, project_id)


class JobQuery(Record):
    """Which jobs to list."""

    after: str | None = None
    limit: int = 20
    metadata: dict[str, str] = Field(default_factory=dict)
    """Every pair must be there."""
    without_metadata: bool = False
    """Only jobs that have none."""


def list_jobs(store: Store, project_id: str, kind: str, wanted: JobQuery) -> Page[Job]:
    """Return a page of jobs, newest first."""
    query = select(jobs.c.position, *_COLUMNS).where(
        jobs.c.project_id == project_id, jobs.c.kind == kind
    )
    for key, value in wanted.metadata.items():
        matching = select(job_metadata.c.job_id).where(
            job_metadata.c.key == key, job_metadata.c.value == value
        )
        query = query.where(jobs.c.id.in_(matching))
    if wanted.without_metadata:
        query = query.where(jobs.c.id.not_in(select(job_metadata.c.job_id)))
    with store.db.read() as connection:
        if wanted.after is not None:
            mark = connection.execute(
                select(jobs.c.position).where(
                    jobs.c.id == wanted.after, jobs.c.project_id == project_id
                )
            ).scalar()
            if mark is None:
                raise InvalidInput(f"No such fine-tuning job: {wanted.after}", param="after")
            query = query.where(jobs.c.position < mark)
        query = query.order_by(jobs.c.position.desc()).limit(wanted.limit + 1)
        rows = connection.execute(query).all()
        found = _metadata_of(connection, [row.id for row in rows])
    return page_of([_job(row, found.get(row.id)) for row in rows], wanted.limit)


def request_cancel(store: Store, project_id: str, job_id: str) -> tuple[Job, bool]:
    """Ask for a job's end. Return it, and whether it ended at once: no worker had it."""
    with store.db.write() as connection:
        job = _get(connection, job_id, project_id)
        check_move(job.id, job.status, "cancelled")
        if _has_owner(store, connection, job.id):
            connection.execute(jobs.update().where(jobs.c.id == job.id).values(cancel_requested=1))
            return job, False
        ended = _move(store, connection, job, "cancelled")
        append_events(store, connection, job.id, (CANCELLED,))
        return ended, True


CANCELLED = NewEvent(key="cancelled", message="The job was cancelled", level="warn")


def request_pause(store: Store, project_id: str, job_id: str) -> Job:
    """Ask a running job to keep its state and stop."""
    with store.db.write() as connection:
        job = _get(connection, job_id, project_id)
        if job.status == "pausing":
            return job
        check_move(job.id, job.status, "pausing")
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(pause_requested=1))
        if not _has_owner(store, connection, job.id):
            return _move(store, connection, job, "paused")
        return _move(store, connection, job, "pausing")


def resume_job(store: Store, project_id: str, job_id: str) -> Job:
    """Put a paused job back into the queue."""
    with store.db.write() as connection:
        job = _get(connection, job_id, project_id)
        check_move(job.id, job.status, "queued")
        if job.status != "paused":
            raise InvalidInput(
                f"Fine-tuning job {job.id} has status '{job.status}': only a paused job resumes.",
                code="invalid_job_state",
                param="fine_tune_id",
            )
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(pause_requested=0))
        return _move(store, connection, job, "queued")


def claim(store: Store, owner: str, *, only: str | None = None) -> tuple[Job, Lease] | None:
    """Take the next job that needs a worker: highest priority first, then oldest."""
    now = store.clock()
    with store.db.write() as connection:
        free_again = _gone_owners(connection)
        available = or_(
            jobs.c.lease_token.is_(None),
            jobs.c.lease_expires_at < now,
            jobs.c.lease_owner.in_(free_again),
        )
        query = (
            select(jobs.c.position, *_COLUMNS)
            .where(and_(jobs.c.status.in_(CLAIMABLE), available))
            .order_by(jobs.c.priority.desc(), jobs.c.position)
            .limit(1)
        )
        if only is not None:
            query = query.where(jobs.c.id == only)
        row = connection.execute(query.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        lease = Lease(job_id=row.id, token=secrets.token_hex(16))
        connection.execute(
            jobs.update()
            .where(jobs.c.id == row.id)
            .values(
                lease_token=lease.token,
                lease_owner=owner,
                lease_expires_at=now + store.settings.lease_seconds,
                attempts=jobs.c.attempts + 1,
            )
        )
        return _get(connection, row.id, None), lease


def heartbeat(store: Store, lease: Lease) -> Requests:
    """Lengthen a lease; return what is asked of the job.

    Raises:
        LeaseLost: the job belongs to another worker now.

    """
    with fenced(store, lease) as (connection, _):
        connection.execute(
            jobs.update()
            .where(jobs.c.id == lease.job_id)
            .values(lease_expires_at=store.clock() + store.settings.lease_seconds)
        )
    return read_requests(store, lease)


def read_requests(store: Store, lease: Lease) -> Requests:
    """Return what is asked of a job, and check that the lease still holds."""
    with store.db.read() as connection:
        row = connection.execute(
            select(jobs.c.lease_token, jobs.c.cancel_requested, jobs.c.pause_requested).where(
                jobs.c.id == lease.job_id
            )
        ).one()
    if row.lease_token != lease.token:
        raise _lost(lease)
    return Requests(cancel=bool(row.cancel_requested), pause=bool(row.pause_requested))


@contextmanager
def fenced(store: Store, lease: Lease) -> Iterator[tuple[Connection, Job]]:
    """Open a write transaction for a leased job; nothing is written if the lease is lost."""
    with store.db.write() as connection:
        query = select(jobs.c.lease_token).where(jobs.c.id == lease.job_id)
        token = connection.execute(query.with_for_update()).scalar()
        if token != lease.token:
            raise _lost(lease)
        yield connection, _get(connection, lease.job_id, None)


def move(
    store: Store,
    connection: Connection,
    job: Job,
    status: JobStatus,
    *,
    state: dict[str, Any] | None = None,
    error: JobError | None = None,
) -> Job:
    """Change a job's state inside `fenced`; a final state gives the lease back."""
    moved = _move(store, connection, job, status, error=error)
    if state is not None:
        update_state(connection, moved, state)
    return moved


def update_state(connection: Connection, job: Job, state: dict[str, Any]) -> None:
    """Add to what the job has found so far."""
    merged = job.state | state
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(state=json.dumps(merged)))


def release(store: Store, lease: Lease) -> None:
    """Give a job back to the queue, its state unchanged: the next worker goes on with it."""
    with fenced(store, lease) as (connection, _):
        connection.execute(
            jobs.update()
            .where(jobs.c.id == lease.job_id)
            .values(lease_token=None, lease_owner=None, lease_expires_at=None)
        )


def reset_attempts(connection: Connection, job_id: str) -> None:
    """Forget earlier crashes: the job has made progress since."""
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(attempts=1))


def _move(
    store: Store,
    connection: Connection,
    job: Job,
    status: JobStatus,
    *,
    error: JobError | None = None,
) -> Job:
    check_move(job.id, job.status, status)
    values: dict[str, Any] = {"status": status}
    if status == "running" and job.started_at is None:
        values["started_at"] = store.now()
    if status in ("succeeded", "failed", "cancelled"):
        values["finished_at"] = store.now()
    if status in ("succeeded", "failed", "cancelled", "paused"):
        values |= {"lease_token": None, "lease_owner": None, "lease_expires_at": None}
    if error is not None:
        values["error"] = error.model_dump_json()
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(values))
    return _get(connection, job.id, None)


def _gone_owners(connection: Connection) -> list[str]:
    """Owners on this machine whose process has ended: their leases count as given back."""
    owners = connection.execute(
        select(jobs.c.lease_owner).where(jobs.c.lease_owner.is_not(None)).distinct()
    ).scalars()
    return [owner for owner in owners if is_gone(owner)]


def _has_owner(store: Store, connection: Connection, job_id: str) -> bool:
    row = connection.execute(
        select(jobs.c.lease_owner, jobs.c.lease_expires_at).where(jobs.c.id == job_id)
    ).one()
    if row.lease_owner is None or row.lease_expires_at < store.clock():
        return False
    return not is_gone(row.lease_owner)


def _get(connection: Connection, job_id: str, project_id: str | None) -> Job:
    query = select(jobs.c.position, *_COLUMNS).where(jobs.c.id == job_id)
    if project_id is not None:
        query = query.where(jobs.c.project_id == project_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(
            f"Could not find fine tune: {job_id}",
            code="fine_tune_not_found",
            param="fine_tune_id",
        )
    return _job(row, _metadata_of(connection, [job_id]).get(job_id))


def _metadata_of(connection: Connection, job_ids: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    rows = connection.execute(select(job_metadata).where(job_metadata.c.job_id.in_(job_ids)))
    for row in rows:
        found.setdefault(row.job_id, {})[row.key] = row.value
    return found


def _job(row: Row[Any], metadata: dict[str, str] | None) -> Job:
    values = dict(row._mapping)
    values.pop("position")
    values["spec"] = json.loads(values["spec"])
    values["state"] = json.loads(values["state"])
    values["error"] = None if values["error"] is None else json.loads(values["error"])
    return Job.model_validate(values | {"metadata": metadata})


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"Job {lease.job_id!r} belongs to another worker now.", code="lease_lost")
