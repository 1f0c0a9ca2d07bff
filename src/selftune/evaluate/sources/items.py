"""Rows of a run's data source -> items, one at a time: a file of any size fits into memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.grading import sample_of
from selftune.evaluate.items import Item, item_id
from selftune.evaluate.sources.data_source import DataSource, FileContent
from selftune.evaluate.sources.messages import STORED_INPUT, as_chat, messages_for
from selftune.models.messages import content_text
from selftune.store.completions import StoredCompletion

_MOST_LINE_BYTES = 16 * 1024 * 1024


class RawRow(Record):
    """One row as it was found."""

    number: int
    """From 0."""
    item: dict[str, Any]
    sample: dict[str, Any] | None = None
    problem: str | None = None
    """Why it cannot be used."""


@dataclass(frozen=True)
class ItemMaker:
    """Makes items of rows."""

    source: DataSource
    check: Callable[[dict[str, Any]], str | None]
    """Says how an item differs from the eval's schema."""

    def make(self, row: RawRow) -> Item:
        """Return the item of a row.

        Raises:
            InvalidInput: the row cannot be used; says why.

        """
        if row.problem is not None:
            raise InvalidInput(row.problem)
        problem = self.check(row.item)
        if problem is not None:
            raise InvalidInput(f"The row does not fit the eval's item_schema: {problem}.")
        messages: tuple[dict[str, Any], ...] = ()
        given = None
        if self.source.is_asking:
            messages = messages_for(self.source.input_messages or STORED_INPUT, row.item)
        else:
            given = given_sample(row.sample or {})
            if self.source.is_stored:
                messages = as_chat(row.item["input"])
        return Item(
            index=row.number + 1,
            id=item_id(row.item, messages),
            item=row.item,
            messages=messages,
            given=given,
        )


def content_rows(source: FileContent) -> Iterator[RawRow]:
    """Yield the rows that came with the request."""
    for number, row in enumerate(source.content):
        yield RawRow(number=number, item=row.item, sample=row.sample)


def file_rows(file: IO[bytes]) -> Iterator[RawRow]:
    """Yield the rows of a file; a line that is none becomes a row with a problem."""
    number = 0
    while line := file.readline(_MOST_LINE_BYTES + 1):
        is_whole = line.endswith(b"\n") or len(line) <= _MOST_LINE_BYTES
        while not (is_whole or line.endswith(b"\n")):
            line = file.readline(_MOST_LINE_BYTES + 1) or b"\n"
        if not is_whole:
            problem = f"Row {number + 1} of the file is longer than 16 MiB."
            yield RawRow(number=number, item={}, problem=problem)
        elif line.strip():
            yield _row_of_line(number, line)
        number += 1 if line.strip() or not is_whole else 0


def stored_rows(found: Iterable[StoredCompletion]) -> Iterator[RawRow]:
    """Yield a row for each completion or response that was kept."""
    for number, stored in enumerate(found):
        item: dict[str, Any] = {
            "id": stored.id,
            "input": list(stored.messages),
            "input_text": _last_question(stored),
            "instructions": stored.options.get("instructions"),
            "metadata": stored.metadata,
            "model": stored.model,
            "created_at": stored.created_at,
        }
        if stored.options.get("tools"):
            item["tools"] = stored.options["tools"]
        choice = {"message": stored.message, "finish_reason": stored.finish_reason}
        sample = {
            "model": stored.model,
            "output_text": stored.output_text,
            "output_tools": stored.message.get("tool_calls") or [],
            "choices": [choice],
            "finish_reason": stored.finish_reason,
            "usage": stored.usage and stored.usage.model_dump(),
        }
        yield RawRow(number=number, item=item, sample=sample)


def given_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as graders look at it: what can be said of it and is not said is added."""
    text = sample.get("output_text")
    if not isinstance(text, str):
        text = _first_text(sample)
    shown = sample_of(text) | sample | {"output_text": text}
    if not shown.get("output_tools"):
        shown["output_tools"] = _first_message(sample).get("tool_calls") or []
    return shown


def _row_of_line(number: int, line: bytes) -> RawRow:
    line_name = f"Row {number + 1} of the file"
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return RawRow(number=number, item={}, problem=f"{line_name} is not JSON: {error}.")
    item = value.get("item") if isinstance(value, dict) else None
    if not isinstance(item, dict):
        problem = f'{line_name} has no object "item".'
        return RawRow(number=number, item={}, problem=problem)
    sample = value.get("sample")
    return RawRow(number=number, item=item, sample=sample if isinstance(sample, dict) else None)


def _last_question(stored: StoredCompletion) -> str:
    asked = [message for message in stored.messages if message.get("role") == "user"]
    return content_text(asked[-1]) if asked else ""


def _first_message(sample: dict[str, Any]) -> dict[str, Any]:
    choices = sample.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return message if isinstance(message, dict) else {}


def _first_text(sample: dict[str, Any]) -> str:
    return content_text(_first_message(sample))
