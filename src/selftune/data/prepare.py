"""Rows -> training chats."""

from collections.abc import Sequence
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.runfile import Template
from selftune.data.rows import Row
from selftune.data.sources.filling import filled_chat
from selftune.models.messages import SYSTEM_ROLES

Chat = list[dict[str, Any]]


def is_chat(row: Row) -> bool:
    """Return whether a row is a chat already."""
    return isinstance(row.get("messages"), list)


def to_chats(rows: Sequence[Row], template: Template | None) -> list[Row]:
    """Return rows as `{"messages": …}`.

    Raises:
        InvalidInput: a row is not a chat and there is no template.

    """
    return [
        row if is_chat(row) and template is None else _chat(number, row, template)
        for number, row in enumerate(rows, start=1)
    ]


def _chat(number: int, row: Row, template: Template | None) -> Row:
    if template is None:
        raise InvalidInput(
            f"Row {number} has no list of messages: give [data.template] with user and assistant."
        )
    try:
        return filled_chat(row, template)
    except InvalidInput as error:
        raise InvalidInput(f"Row {number}: {error.message}") from error


def shared_system(chats: Sequence[Row]) -> Chat:
    """Return the system messages that every chat begins with, or none."""
    first = [m for m in chats[0]["messages"] if m["role"] in SYSTEM_ROLES]
    for chat in chats:
        if [m for m in chat["messages"] if m["role"] in SYSTEM_ROLES] != first:
            return []
    return first
