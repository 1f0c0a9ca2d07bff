"""The queue: jobs are rows, and a worker owns one while it holds an unexpired lease.

Whoever writes for a running job proves the lease in the same transaction (`fenced`), so a worker
that was declared dead cannot write over its successor.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from selftune.core.errors import Cancelled, InvalidInput, LeaseLost, NotFound
from selftune.core.pages import Page, page_of
from selftune.core.records import Job, JobError, JobStatus, Record
from selftune.jobs.devices import Device, Waiting, choose
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.states import CLAIMABLE, TERMINAL, check_move, is_terminal
from selftune.store.owners import is_gone
from selftune.store.schema import job_metadata, jobs
from selftune.store.store import Store
from selftune.store.webhooks import publish

_COLUMNS = [jobs.c[name] for name in Job.model_fields if name != "metadata"]
EVAL_RUN = "eval.run"
"""Kind of the jobs that are runs of evals."""
BATCH = "batch"
"""Kind of the jobs that are batches."""
EXPIRED = "expired"
"""In a batch's state when its time was over before its requests were answered."""
_BATCH = 500
_NO_LEASE: dict[str, Any] = {
    "lease_token": None,
    "lease_owner": None,
    "lease_expires_at": None,
    "devices_held": None,
}
_MOST_WEIGHED = 200
"""Jobs at the head of the queue of which the first that fits the free devices is taken."""


class Lease(Record):
    """Proof of owning a job."""

    job_id: str
    token: str
    devices: tuple[str, ...] | None = None
    """Keys of the devices that the job holds as long as the lease; None where there are none."""


def enqueue(store: Store, connection: Connection, job: Job, first: tuple[NewEvent, ...]) -> None:
    """Store a new job and its first events in a transaction of the caller's."""
    values = job.model_dump(exclude={"metadata"}) | {
        "spec": json.dumps(job.spec),
        "state": json.dumps(job.state),
        "error": None,
        "pause_requested": 0,
    }
    connection.execute(jobs.insert().values(values))
    for key, value in (job.metadata or {}).items():
        connection.execute(job_metadata.insert().values(job_id=job.id, key=key, value=value))
    append_events(store, connection, job.id, first)


def get_job(store: Store, project_id: str, job_id: str, *, kind: str | None = None) -> Job:
    """Return one job of a project, of one kind if that is given.

    Raises:
        NotFound: in OpenAI's words.

    """
    with store.db.read() as connection:
        job = _get(connection, job_id, project_id)
    if kind not in (None, job.kind):
        raise _unknown(job_id)
    return job


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


def ended_jobs(
    store: Store, job_ids: list[str], *, before: int | None = None, or_deleted: bool = False
) -> set[str]:
    """Return which of these jobs have ended for good, and before a time if there is one.

    Those that were deleted count where that is wanted.
    """
    ended: set[str] = set()
    with store.db.read() as connection:
        for start in range(0, len(job_ids), _BATCH):
            chunk = jobs.c.id.in_(job_ids[start : start + _BATCH])
            query = select(jobs.c.id).where(chunk, jobs.c.status.in_(TERMINAL))
            if before is not None:
                query = query.where(jobs.c.finished_at < before)
            ended |= set(connection.execute(query).scalars())
            if or_deleted:
                known = connection.execute(select(jobs.c.id).where(chunk)).scalars()
                ended |= set(job_ids[start : start + _BATCH]) - set(known)
    return ended


def unfinished_states(store: Store, kind: str) -> list[dict[str, Any]]:
    """Return the states of all jobs of a kind that have not ended."""
    query = select(jobs.c.state).where(jobs.c.kind == kind, jobs.c.status.not_in(TERMINAL))
    with store.db.read() as connection:
        return [json.loads(state) for state in connection.execute(query).scalars()]


def cancel_job(store: Store, project_id: str, job_id: str) -> Job:
    """End a job at once: its worker finds the lease gone, writes nothing more, and stops."""
    with store.db.write() as connection:
        job = _get(connection, job_id, project_id, hold=True)
        check_move(job.id, job.status, "cancelled")
        event = NewEvent(key="cancelled", message="The job was cancelled", level="warn")
        append_events(store, connection, job.id, (event,))
        return move(store, connection, job, "cancelled")


def held_job(connection: Connection, job_id: str) -> Job:
    """Return a job, and keep its row for the rest of the transaction."""
    return _get(connection, job_id, None, hold=True)


def cancel_unless_owned(store: Store, connection: Connection, job: Job) -> None:
    """End a job of the transaction that holds it, unless a worker has it."""
    if not _has_owner(store, connection, job.id):
        move(store, connection, job, "cancelled")


def request_pause(store: Store, project_id: str, job_id: str) -> Job:
    """Ask a running job to keep its state and stop."""
    with store.db.write() as connection:
        job = _get(connection, job_id, project_id, hold=True)
        if job.status == "pausing":
            return job
        check_move(job.id, job.status, "pausing")
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(pause_requested=1))
        if not _has_owner(store, connection, job.id):
            return move(store, connection, job, "paused")
        return move(store, connection, job, "pausing")


def resume_job(store: Store, project_id: str, job_id: str) -> Job:
    """Put a paused job back into the queue."""
    with store.db.write() as connection:
        job = _get(connection, job_id, project_id, hold=True)
        check_move(job.id, job.status, "queued")
        if job.status != "paused":
            raise InvalidInput(
                f"Fine-tuning job {job.id} has status '{job.status}': only a paused job resumes.",
                code="invalid_job_state",
                param="fine_tune_id",
            )
        fresh = {"pause_requested": 0, "attempts": 0}
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(fresh))
        return move(store, connection, job, "queued")


def claim(
    store: Store, owner: str, *, only: str | None = None, devices: Sequence[Device] = ()
) -> tuple[Job, Lease] | None:
    """Take the next job that needs a worker: highest priority first, then oldest.

    Where the worker's machine has devices, a job that needs some is taken if they are free.
    """
    with store.db.write() as connection:
        available = and_(jobs.c.status.in_(CLAIMABLE), _without_owner(store, connection))
        wanted = available if only is None else and_(available, jobs.c.id == only)
        shares: dict[str, int] = {}
        if devices:
            store.db.lock(connection, "devices")
            held = _held(connection, available)
            name, shares = _next_for(store, connection, wanted, devices, held)
            if name is None:
                return None
            wanted = and_(available, jobs.c.id == name)
        query = (
            select(jobs.c.position, jobs.c.lease_token, *_COLUMNS)
            .where(wanted)
            .order_by(jobs.c.priority.desc(), jobs.c.position)
            .limit(1)
        )
        row = connection.execute(query.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        lease = Lease(
            job_id=row.id,
            token=secrets.token_hex(16),
            devices=tuple(shares) if devices else None,
        )
        # A worker's death says nothing against the job that it had; only a child's does.
        attempts = row.attempts + 1 if row.lease_token is None else max(1, row.attempts)
        connection.execute(
            jobs.update()
            .where(jobs.c.id == row.id)
            .values(
                lease_token=lease.token,
                lease_owner=owner,
                lease_expires_at=store.clock() + store.settings.lease_seconds,
                attempts=attempts,
                devices_held=json.dumps(shares) if shares else None,
                passed_over=0,
            )
        )
        return _get(connection, row.id, None), lease


def _without_owner(store: Store, connection: Connection) -> ColumnElement[bool]:
    """Return the condition that no living worker has a job."""
    return or_(
        jobs.c.lease_token.is_(None),
        jobs.c.lease_expires_at < store.clock(),
        jobs.c.lease_owner.in_(_gone_owners(connection)),
    )


def _next_for(
    store: Store,
    connection: Connection,
    wanted: ColumnElement[bool],
    devices: Sequence[Device],
    held: Mapping[str, int],
) -> tuple[str | None, dict[str, int]]:
    """Return the job to take and its shares of devices: the first that needs none, or fits."""
    ordered = (
        select(
            jobs.c.id,
            jobs.c.priority,
            jobs.c.position,
            jobs.c.devices,
            jobs.c.device_memory,
            jobs.c.passed_over,
        )
        .where(wanted)
        .order_by(jobs.c.priority.desc(), jobs.c.position)
    )
    plain = connection.execute(ordered.where(jobs.c.devices == 0).limit(1)).first()
    needing = connection.execute(ordered.where(jobs.c.devices > 0).limit(_MOST_WEIGHED)).all()
    waiting = [
        Waiting(
            id=row.id, devices=row.devices, memory=row.device_memory, passed_over=row.passed_over
        )
        for row in needing
    ]
    choice = choose(waiting, devices, held)
    _tell_too_large(store, connection, choice.too_large, len(devices))
    order = {row.id: (-row.priority, row.position) for row in needing}
    if plain is not None and (
        choice.id is None or (-plain.priority, plain.position) < order[choice.id]
    ):
        return plain.id, {}
    if choice.overtaken:
        passed = jobs.update().where(jobs.c.id.in_(choice.overtaken))
        connection.execute(passed.values(passed_over=jobs.c.passed_over + 1))
    return choice.id, choice.shares


def _held(connection: Connection, available: ColumnElement[bool]) -> dict[str, int]:
    """Return how much of each device is held. Who lost its lease loses its devices for good."""
    lost = jobs.update().where(available, jobs.c.devices_held.is_not(None))
    # Not none: a job that had a worker is not blamed for that worker's end
    connection.execute(lost.values(lease_token=secrets.token_hex(16), devices_held=None))
    held: dict[str, int] = {}
    rows = connection.execute(select(jobs.c.devices_held).where(jobs.c.devices_held.is_not(None)))
    for found in rows.scalars():
        for key, memory in json.loads(found).items():
            held[key] = held.get(key, 0) + memory
    return held


def _tell_too_large(
    store: Store, connection: Connection, names: tuple[str, ...], count: int
) -> None:
    """Say once in a job's events that it needs more than this machine has."""
    for name in names:
        row = select(jobs.c.devices).where(jobs.c.id == name).with_for_update(skip_locked=True)
        needs = connection.execute(row).scalar()
        if needs is None:
            continue
        text = (
            f"The job needs {needs} GPU(s) with enough memory each; the machine of this worker has "
            f"{count} and cannot take it. It waits for a worker with more: cancel it and ask for "
            "fewer devices or a smaller base if there is none"
        )
        event = NewEvent(key="too-large-for-devices", message=text, level="warn")
        append_events(store, connection, name, (event,))


def heartbeat(store: Store, lease: Lease, *, seconds: float = 0.0) -> None:
    """Lengthen a lease, and count the time that the job has run since the last time.

    Raises:
        LeaseLost: the job belongs to another worker now.

    """
    with fenced(store, lease) as (connection, _):
        connection.execute(
            jobs.update()
            .where(jobs.c.id == lease.job_id)
            .values(
                lease_expires_at=store.clock() + store.settings.lease_seconds,
                seconds_used=jobs.c.seconds_used + seconds,
            )
        )


def add_seconds(store: Store, job_id: str, seconds: float) -> None:
    """Count time that a job has run, whether it still does or not."""
    with store.db.write() as connection:
        spent = jobs.c.seconds_used + seconds
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(seconds_used=spent))


def is_pause_requested(store: Store, lease: Lease) -> bool:
    """Return whether a job is to stop and keep its state.

    Raises:
        Cancelled: it is over.
        LeaseLost: the job belongs to another worker now.

    """
    with store.db.read() as connection:
        row = connection.execute(
            select(jobs.c.lease_token, jobs.c.pause_requested, jobs.c.status).where(
                jobs.c.id == lease.job_id
            )
        ).first()
    return bool(_checked(lease, row).pause_requested)


@contextmanager
def fenced(store: Store, lease: Lease) -> Iterator[tuple[Connection, Job]]:
    """Open a write transaction for a leased job; nothing is written if the lease is lost."""
    with store.db.write() as connection:
        query = select(jobs.c.lease_token, jobs.c.status).where(jobs.c.id == lease.job_id)
        _checked(lease, connection.execute(query.with_for_update()).first())
        yield connection, _get(connection, lease.job_id, None)


def update_state(connection: Connection, job: Job, state: dict[str, Any]) -> None:
    """Add to what the job has found so far."""
    merged = job.state | state
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(state=json.dumps(merged)))


def release(store: Store, lease: Lease, *, crashed: bool) -> None:
    """Give a job back to the queue, its state unchanged: the next worker goes on with it."""
    with fenced(store, lease) as (connection, job):
        attempts = job.attempts if crashed else max(0, job.attempts - 1)
        values = _NO_LEASE | {"attempts": attempts}
        connection.execute(jobs.update().where(jobs.c.id == lease.job_id).values(values))


def reset_attempts(connection: Connection, job_id: str) -> None:
    """Forget earlier crashes: the job has made progress since."""
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(attempts=1))


def move(
    store: Store,
    connection: Connection,
    job: Job,
    status: JobStatus,
    *,
    error: JobError | None = None,
) -> Job:
    """Change a job's state in a transaction that holds its row.

    A state without work gives the lease back; a final one is announced to webhooks.
    """
    check_move(job.id, job.status, status)
    values: dict[str, Any] = {"status": status}
    if status == "running" and job.started_at is None:
        values["started_at"] = store.now()
    if is_terminal(status):
        values["finished_at"] = store.now()
        kind = _announced(job, status)
        publish(store, connection, project_id=job.project_id, kind=kind, object_id=job.id)
    if is_terminal(status) or status == "paused":
        values |= _NO_LEASE
    if error is not None:
        values["error"] = error.model_dump_json()
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(values))
    return _get(connection, job.id, None)


def _announced(job: Job, status: JobStatus) -> str:
    """Return the type of an end's event; OpenAI writes the end of an eval's run with one l."""
    if job.kind == BATCH:
        done = EXPIRED if job.state.get(EXPIRED) else "completed"
        return f"{BATCH}.{done if status == 'succeeded' else status}"
    if job.kind == EVAL_RUN:
        return f"{EVAL_RUN}.{'canceled' if status == 'cancelled' else status}"
    return f"{job.kind}.job.{status}"


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


def _get(connection: Connection, job_id: str, project_id: str | None, *, hold: bool = False) -> Job:
    """Return a job; `hold` keeps its row for the rest of the transaction."""
    query = select(jobs.c.position, *_COLUMNS).where(jobs.c.id == job_id)
    if project_id is not None:
        query = query.where(jobs.c.project_id == project_id)
    row = connection.execute(query.with_for_update() if hold else query).first()
    if row is None:
        raise _unknown(job_id)
    return _job(row, _metadata_of(connection, [job_id]).get(job_id))


def _unknown(job_id: str) -> NotFound:
    return NotFound(
        f"Could not find fine tune: {job_id}", code="fine_tune_not_found", param="fine_tune_id"
    )


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


def _checked(lease: Lease, row: Any) -> Any:
    """Return a job's row if the lease holds; a job that was deleted was cancelled before."""
    if row is not None and row.lease_token == lease.token:
        return row
    if row is None or row.status == "cancelled":
        raise Cancelled(f"Job {lease.job_id!r} was cancelled.", code="cancelled")
    raise LeaseLost(f"Job {lease.job_id!r} belongs to another worker now.", code="lease_lost")
