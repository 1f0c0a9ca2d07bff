"""Answers that are kept because a caller asked for it: chat completions and responses.

Both are kept as chats, whatever they came as, so that evals select, grade and ask them again alike.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, or_, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.pages import Page, page_of
from selftune.store.completion_records import (
    CompletionQuery,
    Kind,
    StoredChoice,
    StoredCompletion,
    is_wanted,
)
from selftune.store.schema import completion_metadata, completions
from selftune.store.store import Store

__all__ = [
    "ARCHIVED",
    "CompletionQuery",
    "Kind",
    "StoredChoice",
    "StoredCompletion",
    "archived_completions",
    "delete_completion",
    "each_completion",
    "expire_completions",
    "get_completion",
    "list_completions",
    "save_archived",
    "save_completion",
    "update_metadata",
]
ARCHIVED: Kind = "archived"
DEFAULT_LIMIT = 20
_AT_ONCE = 32
"""Rows that are read together: one may hold a request of many megabytes."""
_DAY = 86_400
_NAMES: dict[Kind, str] = {
    "chat.completion": "Chat completion",
    "response": "Response",
    ARCHIVED: "Archived chat completion",
}
_OF_OPTIONS = ("temperature", "top_p", "user")
"""Options that have a column of their own, to be found by."""


def save_completion(store: Store, *many: StoredCompletion) -> None:
    """Keep a completion, or many together: all of them or none."""
    with store.db.write() as connection:
        _insert(connection, many)


def save_archived(store: Store, *many: StoredCompletion) -> None:
    """Keep chats of an archived account, except those whose ids are here."""
    names = [each.id for each in many]
    with store.db.write() as connection:
        store.db.lock(connection, ARCHIVED)
        known = select(completions.c.id).where(completions.c.id.in_(names))
        here = set(connection.execute(known).scalars())
        _insert(connection, [each for each in many if each.id not in here])


def archived_completions(store: Store, project_id: str) -> frozenset[str]:
    """Return the ids of the chats of an archived account that a project has here."""
    column = completions.c
    query = select(column.id).where(column.project_id == project_id, column.kind == ARCHIVED)
    with store.db.read() as connection:
        return frozenset(connection.execute(query).scalars())


def _insert(connection: Connection, many: Sequence[StoredCompletion]) -> None:
    """Add completions by one statement for all: by one for each, it takes three times as long."""
    if many:
        connection.execute(completions.insert(), [_row(each) for each in many])
    _add_metadata(connection, {each.id: each.metadata for each in many})


def _row(completion: StoredCompletion) -> dict[str, Any]:
    values = completion.model_dump(include={"id", "project_id", "kind", "model", "created_at"})
    found = {name: completion.options.get(name) for name in _OF_OPTIONS}
    return (
        values
        | found
        | {
            "messages": _text(completion.messages),
            "choices": _text([choice.model_dump() for choice in completion.choices]),
            "usage": _text(completion.usage and completion.usage.model_dump()),
            "options": _text(completion.options),
        }
    )


def get_completion(
    store: Store, project_id: str, kind: Kind, completion_id: str
) -> StoredCompletion:
    """Return one completion of a project.

    Raises:
        NotFound: there is none of this kind, or its time is over.

    """
    chosen = completions.c.id == completion_id
    query = CompletionQuery(kind=kind)
    with store.db.read() as connection:
        rows = connection.execute(
            select(completions).where(chosen, *_conditions(store, project_id, query))
        ).all()
        found = _records(connection, rows)
    if not found:
        raise _unknown(kind, completion_id)
    return found[0]


def list_completions(
    store: Store, project_id: str, query: CompletionQuery
) -> Page[StoredCompletion]:
    """Return a page of completions, oldest first unless asked otherwise.

    Raises:
        InvalidInput: there is no completion that the page could come after.

    """
    limit = DEFAULT_LIMIT if query.limit is None else query.limit
    found = _scan(store, project_id, query, min(limit + 1, _AT_ONCE))
    return page_of(list(islice(found, limit + 1)), limit)


def each_completion(
    store: Store, project_id: str, query: CompletionQuery
) -> Iterator[StoredCompletion]:
    """Yield every completion that is wanted, few in memory at a time.

    What is stored after the first one was asked for is left out, so that this ends though the
    reader's own work adds to the store. Raises what `list_completions` raises.
    """
    with store.db.read() as connection:
        newest = connection.execute(select(func.max(completions.c.position))).scalar() or 0
    found = _scan(store, project_id, query, _AT_ONCE, completions.c.position <= newest)
    return islice(found, query.limit)


def update_metadata(
    store: Store, project_id: str, kind: Kind, completion_id: str, metadata: dict[str, str]
) -> StoredCompletion:
    """Replace a completion's metadata; return the completion. Raises what `get_completion` does."""
    get_completion(store, project_id, kind, completion_id)
    with store.db.write() as connection:
        row = select(completions.c.id).where(completions.c.id == completion_id).with_for_update()
        if connection.execute(row).first():  # nobody deleted it just now
            _drop_metadata(connection, completion_metadata.c.completion_id == completion_id)
            _add_metadata(connection, {completion_id: metadata})
    return get_completion(store, project_id, kind, completion_id)


def delete_completion(store: Store, project_id: str, kind: Kind, completion_id: str) -> None:
    """Forget a completion; raises what `get_completion` raises."""
    get_completion(store, project_id, kind, completion_id)
    with store.db.write() as connection:
        _drop_metadata(connection, completion_metadata.c.completion_id == completion_id)
        connection.execute(delete(completions).where(completions.c.id == completion_id))


def expire_completions(store: Store) -> int:
    """Forget the completions whose time is over; return how many."""
    over = ~_lasts(store)
    with store.db.write() as connection:
        ids = select(completions.c.id).where(over)
        _drop_metadata(connection, completion_metadata.c.completion_id.in_(ids))
        return connection.execute(delete(completions).where(over)).rowcount


def _scan(
    store: Store,
    project_id: str,
    query: CompletionQuery,
    at_once: int,
    *also: ColumnElement[bool],
) -> Iterator[StoredCompletion]:
    """Yield what is wanted, reading some rows at a time, each time in a short transaction."""
    place = completions.c.position
    is_up = query.order == "asc"
    rows_of = (
        select(completions)
        .where(*_conditions(store, project_id, query), *also)
        .order_by(place.asc() if is_up else place.desc())
        .limit(at_once)
    )
    mark = None if query.after is None else _position(store, project_id, query.after)
    while True:
        here = rows_of
        if mark is not None:
            here = rows_of.where(place > mark if is_up else place < mark)
        with store.db.read() as connection:
            rows = connection.execute(here).all()
            found = _records(connection, rows)
        yield from (each for each in found if is_wanted(each, query))
        if len(rows) < at_once:
            return
        mark = rows[-1].position


def _conditions(store: Store, project_id: str, query: CompletionQuery) -> list[ColumnElement[bool]]:
    """Return what the database can decide."""
    column = completions.c
    found = [column.project_id == project_id, _lasts(store)]
    equal = ("kind", "model", "temperature", "top_p")
    given = {name: getattr(query, name) for name in equal}
    found += [column[name] == value for name, value in given.items() if value is not None]
    if query.created_after is not None:
        found.append(column.created_at > query.created_after)
    if query.created_before is not None:
        found.append(column.created_at < query.created_before)
    if query.users:
        found.append(column.user.in_(query.users))
    pair = completion_metadata.c
    for key, value in query.metadata.items():
        matching = select(pair.completion_id).where(pair.key == key, pair.value == value)
        found.append(column.id.in_(matching))
    return found


def _position(store: Store, project_id: str, completion_id: str) -> int:
    column = completions.c
    query = select(column.position).where(
        column.id == completion_id, column.project_id == project_id
    )
    with store.db.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise InvalidInput(f"There is no stored completion {completion_id!r}.", param="after")
    return int(row.position)


def _lasts(store: Store) -> ColumnElement[bool]:
    """Return which completions are not over."""
    oldest = store.now() - store.settings.keep_completions_days * _DAY
    return or_(completions.c.created_at > oldest, completions.c.kind == ARCHIVED)


def _unknown(kind: Kind, completion_id: str) -> NotFound:
    return NotFound(f"{_NAMES[kind]} with id '{completion_id}' not found.")


def _add_metadata(connection: Connection, many: dict[str, dict[str, str]]) -> None:
    """Add the metadata of completions, by their ids."""
    rows = [
        {"completion_id": name, "key": key, "value": value}
        for name, metadata in many.items()
        for key, value in metadata.items()
    ]
    if rows:
        connection.execute(completion_metadata.insert(), rows)


def _drop_metadata(connection: Connection, which: ColumnElement[bool]) -> None:
    connection.execute(delete(completion_metadata).where(which))


def _records(connection: Connection, rows: "list[Row[Any]] | Any") -> list[StoredCompletion]:
    ids = [row.id for row in rows]
    pairs = select(completion_metadata).where(completion_metadata.c.completion_id.in_(ids))
    metadata: dict[str, dict[str, str]] = {name: {} for name in ids}
    for pair in connection.execute(pairs) if ids else ():
        metadata[pair.completion_id][pair.key] = pair.value
    return [_record(row, metadata[row.id]) for row in rows]


def _record(row: Row[Any], metadata: dict[str, str]) -> StoredCompletion:
    told = {
        name: json.loads(row._mapping[name]) for name in ("messages", "choices", "usage", "options")
    }
    kept = {
        name: row._mapping[name] for name in ("id", "project_id", "kind", "model", "created_at")
    }
    return StoredCompletion.model_validate(kept | told | {"metadata": metadata})


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
