"""A job's log: numbered without gaps, and a line that was written once is not written again."""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, func, select

from selftune.core.errors import InvalidInput
from selftune.core.pages import Page, page_of
from selftune.core.records import Event, EventLevel, EventType, Job, Record
from selftune.store.schema import events
from selftune.store.store import Store


class NewEvent(Record):
    """A line to write; `key` makes a repeat of it recognisable."""

    key: str
    message: str
    level: EventLevel = "info"
    type: EventType = "message"
    data: dict[str, Any] | None = None


def append_events(
    store: Store, connection: Connection, job_id: str, new: tuple[NewEvent, ...]
) -> int:
    """Write lines in a transaction that holds the job's row; return how many were new."""
    keys = [event.key for event in new]
    known = set(
        connection.execute(
            select(events.c.key).where(events.c.job_id == job_id, events.c.key.in_(keys))
        ).scalars()
    )
    last = connection.execute(
        select(func.max(events.c.sequence)).where(events.c.job_id == job_id)
    ).scalar()
    first = sequence = 0 if last is None else last
    for event in new:
        if event.key in known:
            continue
        known.add(event.key)
        sequence += 1
        values = event.model_dump() | {
            "id": store.ids.new("ftevent-"),
            "job_id": job_id,
            "sequence": sequence,
            "created_at": store.now(),
            "data": None if event.data is None else json.dumps(event.data),
        }
        connection.execute(events.insert().values(values))
    return sequence - first


def list_events(
    store: Store, job_id: str, *, after: str | None = None, limit: int = 20
) -> Page[Event]:
    """Return a page of a job's log, newest first."""
    query = select(events).where(events.c.job_id == job_id)
    with store.db.read() as connection:
        if after is not None:
            mark = connection.execute(
                select(events.c.sequence).where(events.c.id == after, events.c.job_id == job_id)
            ).scalar()
            if mark is None:
                raise InvalidInput(f"No such event: {after}", param="after")
            query = query.where(events.c.sequence < mark)
        rows = connection.execute(query.order_by(events.c.sequence.desc()).limit(limit + 1)).all()
    return page_of([_event(row) for row in rows], limit)


def events_since(store: Store, job_id: str, sequence: int) -> tuple[Event, ...]:
    """Return the lines after a sequence number, oldest first: what a progress bar reads."""
    with store.db.read() as connection:
        rows = connection.execute(
            select(events)
            .where(events.c.job_id == job_id, events.c.sequence > sequence)
            .order_by(events.c.sequence)
        ).all()
    return tuple(_event(row) for row in rows)


def hand_on(
    store: Store, job: Job, hear: Callable[[Job, tuple[Event, ...]], None]
) -> Callable[[Job], None]:
    """Return what, told of a job again and again, hands each new line on, once."""
    seen = 0

    def each(now: Job) -> None:
        nonlocal seen
        new = events_since(store, job.id, seen)
        if new:
            seen = new[-1].sequence
            hear(now, new)

    return each


def _event(row: Row[Any]) -> Event:
    values = dict(row._mapping)
    values["data"] = None if values["data"] is None else json.loads(values["data"])
    return Event.model_validate(values)
