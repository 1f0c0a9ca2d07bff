"""Rows -> training chats and test items, split without a prompt on both sides."""

import random
from collections.abc import Sequence
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.runfile import Template
from selftune.data.filling import filled_chat

Row = dict[str, Any]
Chat = list[dict[str, Any]]
SYSTEM_ROLES = ("system", "developer")


def is_chat(row: Row) -> bool:
    """Return whether a row is a chat already."""
    return isinstance(row.get("messages"), list)


def fields_of(row: Row) -> Row:
    """Return what templates call `item`: the inner object of `{"item": …}`, or the row."""
    inner = row.get("item")
    return inner if isinstance(inner, dict) else row


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


def split(rows: Sequence[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Return training and held-out rows; equal prompts stay together, the draw is seeded."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_prompt(row), []).append(row)
    keys = sorted(groups)
    random.Random(seed).shuffle(keys)
    wanted = round(fraction * len(rows))
    held: list[Row] = []
    kept: list[Row] = []
    for key in keys:
        (held if len(held) < wanted else kept).extend(groups[key])
    return kept, held


def _prompt(row: Row) -> str:
    if is_chat(row):
        asked = [m.get("content") for m in row["messages"] if m["role"] == "user"]
        return " ".join(str(asked).lower().split())
    return " ".join(str(sorted(fields_of(row).items())).lower().split())
