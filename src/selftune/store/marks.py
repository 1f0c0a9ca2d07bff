"""Where a moment lies in a list of this server's own objects, so that other lists can be mixed in."""

from typing import Any, Literal

from sqlalchemy import Select, Subquery, select

from selftune.store.files import Order
from selftune.store.schema import batches, completions, eval_runs, evals, files, jobs
from selftune.store.store import Store

Listed = Literal["file", "job", "eval", "eval_run", "batch", "completion"]


def time_of(store: Store, project_id: str, kind: Listed, name: str) -> int | None:
    """Return when an object was made; None if the project has none of this id."""
    rows = _rows(project_id, kind, None)
    with store.db.read() as connection:
        found = connection.execute(select(rows.c.created_at).where(rows.c.id == name)).scalar()
    return None if found is None else int(found)


def last_before(
    store: Store, project_id: str, kind: Listed, parent: str | None, moment: int, order: Order
) -> str | None:
    """Return the object that comes last before a moment in a list of this order.

    Going up, objects of the moment itself come after it; going down, before it.
    """
    rows = _rows(project_id, kind, parent)
    if order == "asc":
        query = select(rows.c.id).where(rows.c.created_at < moment)
        query = query.order_by(rows.c.position.desc())
    else:
        query = select(rows.c.id).where(rows.c.created_at >= moment)
        query = query.order_by(rows.c.position.asc())
    with store.db.read() as connection:
        found = connection.execute(query.limit(1)).scalar()
    return None if found is None else str(found)


def _rows(project_id: str, kind: Listed, parent: str | None) -> Subquery:
    return _select(kind, parent).where(_owner(kind) == project_id).subquery()


def _owner(kind: Listed) -> Any:
    tables = {"file": files, "eval": evals, "completion": completions}
    return tables.get(kind, jobs).c.project_id


def _select(kind: Listed, parent: str | None) -> Select[Any]:
    if kind in ("eval_run", "batch"):
        table = eval_runs if kind == "eval_run" else batches
        query = select(table.c.id, table.c.position, jobs.c.created_at)
        query = query.join(jobs, jobs.c.id == table.c.id)
        return query if parent is None else query.where(eval_runs.c.eval_id == parent)
    table = {"file": files, "job": jobs, "eval": evals, "completion": completions}[kind]
    query = select(table.c.id, table.c.position, table.c.created_at)
    kinds = {"job": "fine_tuning", "completion": "chat.completion"}
    return query.where(table.c.kind == kinds[kind]) if kind in kinds else query
