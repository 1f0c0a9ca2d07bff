"""Answers that are kept because a caller asked for it: chat completions and responses.

Both are kept as chats, whatever they came as, so that evals select, grade and ask them again alike.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, Row, delete, func, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.pages import Page, page_of
from selftune.core.records import Record, Usage
from selftune.store.files import Order
from selftune.store.schema import completion_metadata, completions
from selftune.store.store import Store

Kind = Literal["chat.completion", "response"]
DEFAULT_LIMIT = 20
_AT_ONCE = 32
"""Rows that are read together: one may hold a request of many megabytes."""
_DAY = 86_400
_NAMES: dict[Kind, str] = {"chat.completion": "Chat completion", "response": "Response"}
_OF_OPTIONS = ("temperature", "top_p", "user")
"""Options that have a column of their own, to be found by."""


class StoredChoice(Record):
    """One of the answers to one request."""

    message: dict[str, Any]
    """The assistant's whole message, as a chat completion has it."""
    finish_reason: str
    logprobs: dict[str, Any] | None = None


class StoredCompletion(Record):
    """A request and what was answered."""

    id: str
    project_id: str
    kind: Kind
    model: str
    """The name that was asked for."""
    created_at: int
    metadata: dict[str, str] = Field(default_factory=dict)
    messages: tuple[dict[str, Any], ...]
    """All that the model read, as messages of a chat: of a response the instructions come first,
    then what earlier responses said."""
    choices: tuple[StoredChoice, ...]
    usage: Usage | None = None
    """None where the endpoint that answered says nothing."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What else the request said, in its own words: temperature, top_p, seed, user, tools,
    instructions and so on."""

    @property
    def message(self) -> dict[str, Any]:
        """The first answer."""
        return self.choices[0].message

    @property
    def finish_reason(self) -> str:
        """Why the first answer ended."""
        return self.choices[0].finish_reason

    @property
    def output_text(self) -> str:
        """The text of the first answer; a model that only calls tools says none."""
        return self.message.get("content") or ""


class CompletionQuery(Record):
    """Which stored completions are wanted: those to which everything given here applies."""

    kind: Kind | None = None
    model: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    """Every pair must be there."""
    created_after: int | None = None
    """Unix seconds; this second is not meant any more."""
    created_before: int | None = None
    after: str | None = None
    """Id of the last one that was seen."""
    limit: int | None = None
    """Most of a page, or of all that are iterated; None is the usual page, or no end."""
    order: Order = "asc"
    temperature: float | None = None
    top_p: float | None = None
    users: tuple[str, ...] = ()
    """One of them asked."""
    tools: tuple[str, ...] = ()
    """One of these names was among the tools."""
    reasoning_effort: str | None = None
    instructions_search: str | None = None
    """Text that the instructions contain, in whatever case."""


def save_completion(store: Store, completion: StoredCompletion) -> None:
    """Keep a completion."""
    values = completion.model_dump(include={"id", "project_id", "kind", "model", "created_at"})
    found = {name: completion.options.get(name) for name in _OF_OPTIONS}
    values |= found | {
        "messages": _text(completion.messages),
        "choices": _text([choice.model_dump() for choice in completion.choices]),
        "usage": _text(completion.usage and completion.usage.model_dump()),
        "options": _text(completion.options),
    }
    with store.db.write() as connection:
        connection.execute(completions.insert().values(values))
        _add_metadata(connection, completion.id, completion.metadata)


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
            _add_metadata(connection, completion_id, metadata)
    return get_completion(store, project_id, kind, completion_id)


def delete_completion(store: Store, project_id: str, kind: Kind, completion_id: str) -> None:
    """Forget a completion; raises what `get_completion` raises."""
    get_completion(store, project_id, kind, completion_id)
    with store.db.write() as connection:
        _drop_metadata(connection, completion_metadata.c.completion_id == completion_id)
        connection.execute(delete(completions).where(completions.c.id == completion_id))


def expire_completions(store: Store) -> int:
    """Forget the completions whose time is over; return how many."""
    over = completions.c.created_at <= _oldest(store)
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
        yield from (each for each in found if _is_wanted(each, query))
        if len(rows) < at_once:
            return
        mark = rows[-1].position


def _conditions(store: Store, project_id: str, query: CompletionQuery) -> list[ColumnElement[bool]]:
    """Return what the database can decide."""
    column = completions.c
    found = [column.project_id == project_id, column.created_at > _oldest(store)]
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


def _is_wanted(found: StoredCompletion, query: CompletionQuery) -> bool:
    """Decide what databases would decide differently from each other."""
    options = found.options
    if query.instructions_search is not None:
        searched = query.instructions_search.casefold()
        if searched not in str(options.get("instructions") or "").casefold():
            return False
    if query.reasoning_effort not in (None, options.get("reasoning_effort")):
        return False
    return not query.tools or not _tool_names(options).isdisjoint(query.tools)


def _tool_names(options: dict[str, Any]) -> set[str]:
    """Return the names of tools as chats and as responses write them."""
    found = options.get("tools")
    tools = [tool for tool in found if isinstance(tool, dict)] if isinstance(found, list) else []
    inner = [tool.get("function") or tool for tool in tools]
    return {str(tool["name"]) for tool in inner if isinstance(tool, dict) and "name" in tool}


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


def _oldest(store: Store) -> int:
    """Return the last second whose completions are over."""
    return store.now() - store.settings.keep_completions_days * _DAY


def _unknown(kind: Kind, completion_id: str) -> NotFound:
    return NotFound(f"{_NAMES[kind]} with id '{completion_id}' not found.")


def _add_metadata(connection: Connection, completion_id: str, metadata: dict[str, str]) -> None:
    for key, value in metadata.items():
        connection.execute(
            completion_metadata.insert().values(completion_id=completion_id, key=key, value=value)
        )


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
