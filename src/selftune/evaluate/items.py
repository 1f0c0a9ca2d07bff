"""Test rows -> items to ask: chats without their answer, or fields with a prompt template."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import Field

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import EvaluationSection
from selftune.core.templates import fill
from selftune.models.messages import calls_text, tools_of

Row = dict[str, Any]
_ID_DIGITS = 16


class Item(Record):
    """One question, with everything that graders may look at."""

    index: int
    """Its number, from 1."""
    id: str
    """The same in every round that asks it."""
    item: dict[str, Any]
    messages: tuple[dict[str, Any], ...] = ()
    """What is asked; empty where the data has the answer already."""
    request: dict[str, Any] = Field(default_factory=dict)
    """What its request carries besides: tools, a response format, a limit of tokens."""
    given: dict[str, Any] | None = None
    """The sample that the data has, as graders see it: it is graded, and nobody is asked."""
    category: str | None = None
    weight: float = 1.0
    group: str | None = None
    """What it belongs to; items of one group are not independent."""


def to_items(
    rows: Iterable[Row], section: EvaluationSection, system: Sequence[Row] = ()
) -> Iterator[Item]:
    """Yield one item for each row; `system` stands before prompts that are made here.

    Raises:
        InvalidInput: a row has no chat and there is no prompt template, a field is missing, or two
            rows name themselves alike.

    """
    if section.system is not None:
        system = [{"role": "system", "content": section.system}]
    yield from _distinct(
        (_asked(i, row, section, system) for i, row in enumerate(rows, 1)), section
    )


def given_items(rows: Iterable[Row], section: EvaluationSection) -> Iterator[Item]:
    """Yield one item for each row that has its answer: `{"item": …, "sample": {"output_text": …}}`.

    Raises:
        InvalidInput: a row has no sample, or what `to_items` raises it for.

    """
    yield from _distinct((_given(i, row, section) for i, row in enumerate(rows, 1)), section)


def _distinct(items: Iterator[Item], section: EvaluationSection) -> Iterator[Item]:
    """Yield items with different ids."""
    seen: dict[str, int] = {}
    for item in items:
        again = seen[item.id] = seen.get(item.id, 0) + 1
        if again > 1 and section.id is not None:
            raise InvalidInput(
                f"Test row {item.index} is named {item.id!r} as an earlier one is: names in the "
                f"field {section.id!r} must differ."
            )
        yield item if again == 1 else item.model_copy(update={"id": f"{item.id}-{again}"})


def _asked(index: int, row: Row, section: EvaluationSection, system: Sequence[Row]) -> Item:
    if isinstance(row.get("messages"), list):
        item = _made(index, *_chat(row, index), section)
        return with_request(item, tools_of(row), is_named=section.id is not None)
    fields = _fields(row)
    if section.prompt is None:
        raise InvalidInput(f"Test row {index} is not a chat: say in evaluation.prompt what to ask.")
    try:
        prompt = {"role": "user", "content": fill(section.prompt, fields)}
    except InvalidInput as error:
        raise InvalidInput(f"Test row {index}: {error.message}") from error
    return _made(index, fields, (*system, prompt), section)


def _given(index: int, row: Row, section: EvaluationSection) -> Item:
    sample = row.get("sample")
    if isinstance(sample, str):
        sample = {"output_text": sample}
    if not isinstance(sample, dict):
        raise InvalidInput(
            f"Test row {index} has no 'sample' with an 'output_text', and no model is named to ask: "
            "name one, or give every row its answer."
        )
    fields = {name: value for name, value in _fields(row).items() if name != "sample"}
    return _made(index, fields, (), section).model_copy(update={"given": sample})


def _made(index: int, fields: Row, messages: tuple[Row, ...], section: EvaluationSection) -> Item:
    category = _field(fields, section.category, index)
    weight = _field(fields, section.weight, index)
    group = _field(fields, section.group, index)
    name = _field(fields, section.id, index)
    return Item(
        index=index,
        id=str(name) if name is not None else item_id(fields, messages),
        item=fields,
        messages=messages,
        category=None if category is None else str(category),
        weight=1.0 if weight is None else _points(weight, index),
        group=None if group is None else str(group),
    )


def _points(weight: Any, index: int) -> float:
    try:
        points = float(weight)
    except (TypeError, ValueError):
        points = math.nan
    if not 0 <= points < math.inf:
        raise InvalidInput(
            f"Test row {index} is worth {weight!r} points: the weight must be a number from 0 on."
        )
    return points


def with_request(item: Item, request: Row, *, is_named: bool = False) -> Item:
    """Return an item whose request carries more than messages: its id tells it from others.

    One that the data names keeps its name.
    """
    if not request:
        return item
    own = item.id if is_named else fingerprint([item.id, request])[:_ID_DIGITS]
    return item.model_copy(update={"request": request, "id": own})


def item_id(fields: Row, messages: Sequence[Row]) -> str:
    """Return the name of an item that has none: what it says, shortened to 64 bits."""
    return fingerprint([fields, list(messages)])[:_ID_DIGITS]


def _chat(row: Row, index: int) -> tuple[Row, tuple[Row, ...]]:
    """Return a chat's fields and its prompt; the last assistant message is the reference."""
    messages = list(row["messages"])
    if not all(isinstance(message, dict) for message in messages):
        raise InvalidInput(
            f"Test row {index}: each of 'messages' must be an object with 'role' and 'content'."
        )
    reference: Row = {}
    if messages and messages[-1].get("role") == "assistant":
        reference = messages.pop()
    if not messages:
        raise InvalidInput(f"Test row {index} is a chat without a question.")
    asked = [str(m.get("content") or "") for m in messages if m.get("role") == "user"]
    others = {name: value for name, value in row.items() if name != "messages"}
    fields = {
        "reference": str(reference.get("content") or ""),
        "input_text": asked[-1] if asked else "",
    }
    if calls := calls_text(reference):
        fields["reference_calls"] = calls
    return {**fields, **others}, tuple(messages)


def _fields(row: Row) -> Row:
    inner = row.get("item")
    return inner if isinstance(inner, dict) else row


def _field(fields: Row, name: str | None, index: int) -> Any:
    if name is None:
        return None
    if name not in fields:
        raise InvalidInput(f"Test row {index} has no field {name!r}.")
    return fields[name]
