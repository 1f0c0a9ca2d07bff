"""Lists in OpenAI's JSON, of the kind that names its first and its last item."""

from typing import Any

from starlette.requests import Request

from selftune.api.context import context, limit_of
from selftune.core.errors import InvalidInput
from selftune.store.files import Order

DEFAULT_LIMIT, MOST_LISTED = 20, 100


def after_of(request: Request) -> str | None:
    """Return the query's cursor; the SDKs' own tests send one that means nothing."""
    after = request.query_params.get("after") or None
    return None if context(request).is_spec_profile else after


def order_of(request: Request, default: Order) -> Order:
    """Return the query's order."""
    given = request.query_params.get("order")
    if given == "asc":
        return "asc"
    return "desc" if given == "desc" else default


def list_json(items: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return a list of some items."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else "",
        "last_id": items[-1]["id"] if items else "",
        "has_more": has_more,
    }


def page_json(request: Request, items: list[dict[str, Any]], default: Order) -> dict[str, Any]:
    """Return the page that a query wants of items that are all at hand, oldest first.

    Raises:
        InvalidInput: there is no item that the page could come after.

    """
    if order_of(request, default) == "desc":
        items = items[::-1]
    after, start = after_of(request), 0
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise InvalidInput(f"There is nothing with the id {after!r}.", param="after")
        start = ids.index(after) + 1
    end = start + limit_of(request, DEFAULT_LIMIT, MOST_LISTED)
    return list_json(items[start:end], has_more=len(items) > end)
