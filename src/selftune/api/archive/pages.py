"""Pages of lists: of the archive alone, and of the archive together with this server's own objects.

A mixed list is ordered by time. A cursor may be the id of either side; where it lies on the other
side follows from when its object was made, so that a page needs to know nothing of the last one.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from selftune.api.archive.archive import Object
from selftune.api.archive.paths import Listing
from selftune.api.archive.shelf import Shelf, created_of
from selftune.api.archive.written import written
from selftune.api.context import context, identity, limit_of, run_in_threadpool
from selftune.core.errors import InvalidInput, SelftuneError
from selftune.store.files import Order
from selftune.store.marks import Listed, last_before, time_of

OWN_IS_MISSING = 404


class _Start(NamedTuple):
    """Where a page of a mixed list begins, on either side."""

    archived: int
    """How many archived objects come before it."""
    own: str | None
    """The last own object that comes before it."""


class _Own(NamedTuple):
    """What this server itself has for a page."""

    items: list[Object]
    has_more: bool


def archived_page(request: Request, shelf: Shelf, listing: Listing, parent: str) -> Response:
    """Return a page of a list that only the archive has.

    Raises:
        InvalidInput: there is nothing that the page could come after.
        NotFound, PermissionDenied: the archive has no more of the list, which was not at its end.

    """
    names = shelf.archive.ids(listing.kind, parent)
    if listing.order_of(request) == "desc":
        names = names[::-1]
    after = request.query_params.get("after")
    if after:
        if after not in names:
            raise _unknown(after)
        names = names[names.index(after) + 1 :]
    limit = limit_of(request, listing.limit, listing.most)
    wanted = listing.filter(request)
    found = list(islice(shelf.walk(listing.kind, names, wanted), limit + 1))
    has_more = _has_more(shelf, listing, parent, found, len(found) > limit)
    return _page(listing, found[:limit], has_more=has_more)


async def mixed_page(
    app: ASGIApp, request: Request, shelf: Shelf, listing: Listing, parent: str | None
) -> Response:
    """Return a page of what the archive and this server have.

    Raises: what `archived_page` does.

    """
    wanted = listing.filter(request)
    order, limit = listing.order_of(request), limit_of(request, listing.limit, listing.most)
    start = await run_in_threadpool(_start, request, shelf, listing, parent)
    own = await _own_part(app, request, shelf, listing, start.own)
    if isinstance(own, Response):
        return own

    def put_together() -> Response:
        timeline = shelf.timeline(listing.kind, parent)
        places = list(range(len(timeline.ids)))
        places = (places if order == "asc" else places[::-1])[start.archived :]
        archived = (
            (timeline.times[place], found)
            for place in places
            for found in shelf.walk(listing.kind, timeline.ids[place : place + 1], wanted)
        )
        found = list(islice(_merged(archived, own.items, order), limit + 1))
        has_more = len(found) > limit or own.has_more
        if parent is not None:
            has_more = _has_more(shelf, listing, parent, found, has_more)
        return _page(listing, found[:limit], has_more=has_more)

    return await run_in_threadpool(put_together)


async def own_answer(app: ASGIApp, request: Request, after: str | None = None) -> tuple[int, bytes]:
    """Return what this server says to a GET when its cursor is another."""
    given = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), True))
    given.pop("after", None)
    if after is not None:
        given["after"] = after
    scope = dict(request.scope) | {"query_string": urlencode(given).encode()}
    status, body = 0, bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        body.extend(message.get("body", b""))

    await app(scope, receive, send)
    return status, bytes(body)


def _has_more(
    shelf: Shelf, listing: Listing, parent: str, found: list[Object], has_more: bool
) -> bool:
    """Return whether something follows, be it only the news that the archive lacks the rest.

    Raises:
        NotFound, PermissionDenied: nothing was found, and the archive does not know that this is all.

    """
    if has_more:
        return True
    try:
        shelf.require_whole(listing.kind, parent)
    except SelftuneError:
        if not found:
            raise
        return True  # the next page says what is missing
    return False


def _start(request: Request, shelf: Shelf, listing: Listing, parent: str | None) -> _Start:
    after = request.query_params.get("after")
    timeline, order = shelf.timeline(listing.kind, parent), listing.order_of(request)
    if not after:
        return _Start(0, None)
    store, project_id = context(request).store, identity(request).project_id
    kind = cast(Listed, listing.kind)
    place = timeline.places.get(after)
    if place is not None:
        moment = timeline.times[place]
        own = last_before(store, project_id, kind, parent, moment, order)
        return _Start(place + 1 if order == "asc" else len(timeline.ids) - place, own)
    made = time_of(store, project_id, kind, after)
    if made is None:
        raise _unknown(after)
    older = bisect_right(timeline.times, made)
    return _Start(older if order == "asc" else len(timeline.ids) - older, after)


async def _own_part(
    app: ASGIApp, request: Request, shelf: Shelf, listing: Listing, after: str | None
) -> _Own | Response:
    """Return as many own objects as a page may need; those that were brought here are archived."""
    limit = limit_of(request, listing.limit, listing.most)
    found = _Own([], has_more=True)
    while found.has_more and len(found.items) < limit:
        status, body = await own_answer(app, request, after)
        if status == OWN_IS_MISSING:  # an archived eval, of which this server has no runs
            return _Own([], has_more=False)
        if status != 200:
            return Response(body, status, media_type="application/json")
        page = orjson.loads(body)
        data = page["data"]
        own = [each for each in data if not shelf.has(listing.kind, each["id"])]
        found = _Own(found.items + own, bool(page["has_more"] and data))
        after = data[-1]["id"] if data else None
    return found


def _merged(
    archived: Iterator[tuple[int, Object]], own: list[Object], order: Order
) -> Iterator[Object]:
    """Yield both in order; of one second, what is archived is older."""
    mine = iter(own)
    left, right = next(archived, None), next(mine, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _is_first(left[0], created_of(right), order)):
            assert left is not None
            yield left[1]
            left = next(archived, None)
        else:
            yield right
            right = next(mine, None)


def _is_first(archived: int, own: int, order: Order) -> bool:
    return archived <= own if order == "asc" else archived > own


def _page(listing: Listing, items: list[Object], *, has_more: bool) -> Response:
    page: dict[str, Any] = {"object": "list", "data": items}
    if listing.names_ends:
        page["first_id"] = items[0].get("id") if items else ""
        page["last_id"] = items[-1].get("id") if items else ""
    return written(page | {"has_more": has_more})


def _unknown(after: str) -> InvalidInput:
    return InvalidInput(f"There is nothing with the id {after!r}.", param="after")
