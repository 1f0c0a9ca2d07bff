"""Evals: criteria and the shape of items, one project each."""

import json
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, delete, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.pages import Page, page_of
from selftune.core.records import Record
from selftune.store.eval_runs import drop_runs
from selftune.store.paging import PageQuery, beyond, ordered
from selftune.store.schema import eval_runs, evals
from selftune.store.store import Store


class Criterion(Record):
    """One grader of an eval."""

    id: str
    """`<name>-<uuid4>`: results name it so."""
    shown: dict[str, Any]
    """As the caller wrote it."""
    grader: dict[str, Any]
    """What is graded with: nothing but what its plugin knows."""


class Eval(Record):
    """What is asked of answers, whoever gives them."""

    id: str
    project_id: str
    name: str
    config: dict[str, Any]
    """As it is answered."""
    criteria: tuple[Criterion, ...]
    metadata: dict[str, str] = Field(default_factory=dict)
    created_at: int
    updated_at: float


def insert_eval(connection: Connection, made: Eval) -> None:
    """Store an eval in a transaction of the caller's."""
    values = made.model_dump(exclude={"config", "criteria", "metadata"}) | {
        "config": json.dumps(made.config),
        "criteria": json.dumps([each.model_dump() for each in made.criteria]),
        "metadata": json.dumps(made.metadata),
    }
    connection.execute(evals.insert().values(values))


def get_eval(store: Store, project_id: str, eval_id: str) -> Eval:
    """Return one eval of a project.

    Raises:
        NotFound: there is none of this id.

    """
    query = select(evals).where(evals.c.id == eval_id, evals.c.project_id == project_id)
    with store.db.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"No such eval: {eval_id}", code="eval_not_found", param="eval_id")
    return _eval(row)


def list_evals(
    store: Store, project_id: str, wanted: PageQuery, *, by_update: bool = False
) -> Page[Eval]:
    """Return a page of evals, in the order of their making or of their last change."""
    query = select(evals).where(evals.c.project_id == project_id)
    first = evals.c.updated_at if by_update else evals.c.position
    with store.db.read() as connection:
        if wanted.after is not None:
            own = evals.c.project_id == project_id
            mark = select(first, evals.c.position).where(evals.c.id == wanted.after, own)
            found = connection.execute(mark).first()
            if found is None:
                raise InvalidInput(f"No such eval: {wanted.after}", param="after")
            query = query.where(beyond((first, evals.c.position), tuple(found), wanted.order))
        query = ordered(query, (first, evals.c.position), wanted.order)
        rows = connection.execute(query.limit(wanted.limit + 1)).all()
    return page_of([_eval(row) for row in rows], wanted.limit)


def update_eval(
    store: Store,
    project_id: str,
    eval_id: str,
    *,
    name: str | None,
    metadata: dict[str, str] | None,
) -> Eval:
    """Rename an eval or replace its metadata; what is None stays."""
    get_eval(store, project_id, eval_id)
    values: dict[str, Any] = {"updated_at": store.clock()}
    if name is not None:
        values["name"] = name
    if metadata is not None:
        values["metadata"] = json.dumps(metadata)
    with store.db.write() as connection:
        connection.execute(evals.update().where(evals.c.id == eval_id).values(values))
    return get_eval(store, project_id, eval_id)


def drop_eval(store: Store, project_id: str, eval_id: str) -> None:
    """Remove an eval with its runs and their items; the runs have ended."""
    with store.db.write() as connection:
        held = evals.c.id == eval_id, evals.c.project_id == project_id
        if connection.execute(select(evals.c.id).where(*held).with_for_update()).first() is None:
            return
        runs = select(eval_runs.c.id).where(eval_runs.c.eval_id == eval_id)
        drop_runs(connection, tuple(connection.execute(runs).scalars()))
        connection.execute(delete(evals).where(evals.c.id == eval_id))


def _eval(row: Row[Any]) -> Eval:
    values = dict(row._mapping)
    values.pop("position")
    for name in ("config", "criteria", "metadata"):
        values[name] = json.loads(values[name])
    return Eval.model_validate(values)
