"""What became of each item of a run of an eval."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.pages import Page, page_of
from selftune.core.records import Record
from selftune.store.eval_runs import Tallies
from selftune.store.paging import PageQuery, beyond, ordered
from selftune.store.schema import eval_output_items, eval_runs
from selftune.store.store import Store

ItemStatus = Literal["pass", "fail", "error"]


class OutputItem(Record):
    """What became of one item."""

    id: str
    run_id: str
    number: int
    """Of its row in the data, from 0."""
    status: ItemStatus
    created_at: int
    content: dict[str, Any]
    """`datasource_item`, `results` and `sample`, as they are answered."""


def add_items(
    connection: Connection, run_id: str, items: Iterable[OutputItem], tallies: Tallies
) -> None:
    """Store what became of some items, and the sums, in a transaction that holds the run's job."""
    new = list(items)
    if not new:
        return
    connection.execute(
        eval_output_items.insert(),
        [each.model_dump() | {"content": json.dumps(each.content)} for each in new],
    )
    counts = {
        name: eval_runs.c[name] + sum(each.status == status for each in new)
        for name, status in (("passed", "pass"), ("failed", "fail"), ("errored", "error"))
    }
    values = counts | {"tallies": tallies.model_dump_json()}
    connection.execute(eval_runs.update().where(eval_runs.c.id == run_id).values(values))


def finished_numbers(store: Store, run_id: str) -> set[int]:
    """Return the rows that are done with."""
    with store.db.read() as connection:
        query = select(eval_output_items.c.number).where(eval_output_items.c.run_id == run_id)
        return set(connection.execute(query).scalars())


def list_items(
    store: Store, run_id: str, wanted: PageQuery, status: ItemStatus | None = None
) -> Page[OutputItem]:
    """Return a page of a run's items, in the order in which they were finished."""
    table, place = eval_output_items.c, eval_output_items.c.position
    query = select(eval_output_items).where(table.run_id == run_id)
    if status is not None:
        query = query.where(table.status == status)
    with store.db.read() as connection:
        if wanted.after is not None:
            mark = select(place).where(table.id == wanted.after, table.run_id == run_id)
            found = connection.execute(mark).scalar()
            if found is None:
                raise InvalidInput(f"No such output item: {wanted.after}", param="after")
            query = query.where(beyond((place,), (found,), wanted.order))
        query = ordered(query, (place,), wanted.order)
        rows = connection.execute(query.limit(wanted.limit + 1)).all()
    return page_of([_item(row) for row in rows], wanted.limit)


def get_item(store: Store, run_id: str, item_id: str) -> OutputItem:
    """Return one item of a run.

    Raises:
        NotFound: there is none of this id.

    """
    table = eval_output_items.c
    with store.db.read() as connection:
        row = connection.execute(
            select(eval_output_items).where(table.id == item_id, table.run_id == run_id)
        ).first()
    if row is None:
        raise NotFound(
            f"No such output item: {item_id}",
            code="eval_output_item_not_found",
            param="output_item_id",
        )
    return _item(row)


def worst_items(store: Store, run_id: str, *, skip: int, limit: int) -> tuple[OutputItem, ...]:
    """Return some of a run's items: failed ones first, then those without a verdict, then others."""
    table = eval_output_items.c
    rank = case({"fail": 0, "error": 1}, value=table.status, else_=2)
    chosen = (
        select(table.position)
        .where(table.run_id == run_id)
        .order_by(rank, table.number)
        .offset(skip)
        .limit(limit)
    )
    query = select(eval_output_items).where(table.position.in_(chosen))
    with store.db.read() as connection:
        rows = connection.execute(query.order_by(rank, table.number)).all()
    return tuple(_item(row) for row in rows)


def _item(row: Row[Any]) -> OutputItem:
    values = dict(row._mapping)
    values.pop("position")
    values["content"] = json.loads(values["content"])
    return OutputItem.model_validate(values)
