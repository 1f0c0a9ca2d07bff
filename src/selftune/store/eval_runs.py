"""Runs of evals. A run is a job too: the queue has its state, and this has its data and its sums."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, Select, delete, func, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.pages import Page
from selftune.core.records import JobError, JobStatus, Record
from selftune.store.paging import PageQuery, beyond, ordered
from selftune.store.schema import (
    eval_output_items,
    eval_runs,
    evals,
    events,
    job_metadata,
    jobs,
)
from selftune.store.store import Store

_MOST_PAGE_CHARACTERS = 32_000_000
"""A page of runs has fewer of them where their data is larger: every one shows all its rows."""
_IDS_AT_ONCE = 500


class Tallies(Record):
    """Sums over a run's items so far."""

    criteria: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Passed and failed, by the criterion's id."""
    models: dict[str, tuple[int, int, int, int]] = Field(default_factory=dict)
    """Calls, tokens of prompts, of answers, and of prompts from a cache, by the model."""


class Run(Record):
    """One run of an eval."""

    id: str
    project_id: str
    eval_id: str
    name: str
    model: str
    """Whom it asks, or whose answers it grades; empty where the data does not say."""
    status: JobStatus
    data_source: str
    """JSON, as it is answered: nobody here reads it but the run itself."""
    report_key: str
    """Who has it may see the report."""
    metadata: dict[str, str] = Field(default_factory=dict)
    created_at: int
    finished_at: int | None = None
    error: JobError | None = None
    passed: int = 0
    failed: int = 0
    errored: int = 0
    tallies: Tallies = Tallies()


def run_ids(store: Store, eval_id: str) -> tuple[str, ...]:
    """Return all runs of an eval."""
    with store.db.read() as connection:
        query = select(eval_runs.c.id).where(eval_runs.c.eval_id == eval_id)
        return tuple(connection.execute(query).scalars())


def drop_run(store: Store, run_id: str) -> None:
    """Remove a run and its items; it has ended."""
    with store.db.write() as connection:
        drop_runs(connection, (run_id,))


def insert_run(connection: Connection, run: Run) -> None:
    """Store a run beside its job, in a transaction of the caller's.

    Raises:
        NotFound: the eval was deleted at this very moment.

    """
    held = select(evals.c.id).where(evals.c.id == run.eval_id).with_for_update()
    if connection.execute(held).first() is None:
        raise NotFound(f"No such eval: {run.eval_id}", code="eval_not_found", param="eval_id")
    names = {"id", "eval_id", "name", "model", "data_source", "report_key"}
    values = run.model_dump(include=names | {"passed", "failed", "errored"})
    tallies = run.tallies.model_dump_json()
    connection.execute(eval_runs.insert().values(values | {"tallies": tallies}))


def get_run(store: Store, project_id: str, eval_id: str, run_id: str) -> Run:
    """Return one run of an eval of a project.

    Raises:
        NotFound: there is none of this id.

    """
    query = _runs().where(eval_runs.c.id == run_id, eval_runs.c.eval_id == eval_id)
    with store.db.read() as connection:
        row = connection.execute(query.where(jobs.c.project_id == project_id)).first()
        if row is None:
            raise unknown_run(run_id)
        return _records(connection, [row])[0]


def get_run_by_id(store: Store, run_id: str) -> Run:
    """Return a run, whosever it is; raises what `get_run` raises."""
    with store.db.read() as connection:
        row = connection.execute(_runs().where(eval_runs.c.id == run_id)).first()
        if row is None:
            raise unknown_run(run_id)
        return _records(connection, [row])[0]


def unknown_run(run_id: str) -> NotFound:
    """Return the error for a run that is not there."""
    return NotFound(f"No such eval run: {run_id}", code="eval_run_not_found", param="run_id")


def list_runs(
    store: Store, eval_id: str, wanted: PageQuery, statuses: tuple[JobStatus, ...] = ()
) -> Page[Run]:
    """Return a page of an eval's runs; no statuses are all."""
    place = eval_runs.c.position
    query = (
        select(eval_runs.c.id, func.length(eval_runs.c.data_source).label("size"))
        .join(jobs, jobs.c.id == eval_runs.c.id)
        .where(eval_runs.c.eval_id == eval_id)
    )
    if statuses:
        query = query.where(jobs.c.status.in_(statuses))
    with store.db.read() as connection:
        if wanted.after is not None:
            mark = select(place).where(
                eval_runs.c.id == wanted.after, eval_runs.c.eval_id == eval_id
            )
            found = connection.execute(mark).scalar()
            if found is None:
                raise InvalidInput(f"No such eval run: {wanted.after}", param="after")
            query = query.where(beyond((place,), (found,), wanted.order))
        query = ordered(query, (place,), wanted.order).limit(wanted.limit + 1)
        sizes = connection.execute(query).all()
        shown = _that_fit(sizes, wanted.limit)
        chosen = _runs().where(eval_runs.c.id.in_(shown))
        rows = connection.execute(ordered(chosen, (place,), wanted.order)).all()
        return Page(tuple(_records(connection, rows)), len(shown) < len(sizes))


def _runs() -> Select[Any]:
    wanted = (
        jobs.c.project_id,
        jobs.c.status,
        jobs.c.created_at,
        jobs.c.finished_at,
        jobs.c.error,
    )
    return select(eval_runs, *wanted).join(jobs, jobs.c.id == eval_runs.c.id)


def drop_runs(connection: Connection, ids: tuple[str, ...]) -> None:
    """Remove runs with their items and jobs, in a transaction of the caller's."""
    for start in range(0, len(ids), _IDS_AT_ONCE):
        chunk = ids[start : start + _IDS_AT_ONCE]
        for table, column in (
            (eval_output_items, eval_output_items.c.run_id),
            (eval_runs, eval_runs.c.id),
            (job_metadata, job_metadata.c.job_id),
            (events, events.c.job_id),
            (jobs, jobs.c.id),
        ):
            connection.execute(delete(table).where(column.in_(chunk)))


def _that_fit(sizes: Iterable[Any], most: int) -> list[str]:
    """Return the runs of one page: at least one, and no more than fit into one answer."""
    shown: list[str] = []
    characters = 0
    for row in sizes:
        characters += row.size
        if len(shown) == most or (shown and characters > _MOST_PAGE_CHARACTERS):
            break
        shown.append(row.id)
    return shown


def _records(connection: Connection, rows: Iterable[Row[Any]]) -> list[Run]:
    found = [dict(row._mapping) for row in rows]
    pairs = select(job_metadata).where(job_metadata.c.job_id.in_([each["id"] for each in found]))
    metadata: dict[str, dict[str, str]] = {each["id"]: {} for each in found}
    for pair in connection.execute(pairs) if found else ():
        metadata[pair.job_id][pair.key] = pair.value
    return [_run(values, metadata[values["id"]]) for values in found]


def _run(values: dict[str, Any], metadata: dict[str, str]) -> Run:
    values.pop("position")
    values["tallies"] = json.loads(values["tallies"])
    values["error"] = None if values["error"] is None else json.loads(values["error"])
    return Run.model_validate(values | {"metadata": metadata})
