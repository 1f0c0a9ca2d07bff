"""Which page of a list, and the rows that are on it."""

from typing import Any

from sqlalchemy import ColumnElement, Select

from selftune.core.records import Record
from selftune.store.files import Order


class PageQuery(Record):
    """Which page of a list."""

    after: str | None = None
    limit: int = 20
    order: Order = "asc"


def beyond(
    columns: tuple[ColumnElement[Any], ...], mark: tuple[Any, ...], order: Order
) -> ColumnElement[bool]:
    """Return what comes after a mark; the second column decides between equals."""
    first, *rest = columns
    is_up = order == "asc"
    further: ColumnElement[bool] = first > mark[0] if is_up else first < mark[0]
    if not rest:
        return further
    second = rest[0] > mark[1] if is_up else rest[0] < mark[1]
    tied: ColumnElement[bool] = (first == mark[0]) & second
    return further | tied


def ordered(
    query: Select[Any], columns: tuple[ColumnElement[Any], ...], order: Order
) -> Select[Any]:
    """Return a query with its order."""
    return query.order_by(*(each.asc() if order == "asc" else each.desc() for each in columns))
