"""Test rows -> items to ask: chats without their answer, or fields with a prompt template."""

from collections.abc import Sequence
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.runfile import EvaluationSection
from selftune.core.templates import fill
from selftune.evaluate.run import Item

Row = dict[str, Any]


def to_items(
    rows: Sequence[Row], section: EvaluationSection, system: Sequence[Row]
) -> tuple[Item, ...]:
    """Return one item for each row; `system` stands before prompts that are made here.

    Raises:
        InvalidInput: a row has no chat and there is no prompt template, or a field is missing.

    """
    if section.system is not None:
        system = [{"role": "system", "content": section.system}]
    return tuple(_item(index, row, section, system) for index, row in enumerate(rows, start=1))


def _item(index: int, row: Row, section: EvaluationSection, system: Sequence[Row]) -> Item:
    fields, messages = _chat(row) if isinstance(row.get("messages"), list) else (_fields(row), None)
    if messages is None:
        if section.prompt is None:
            raise InvalidInput(
                f"Test row {index} is not a chat: say in evaluation.prompt what to ask."
            )
        prompt = {"role": "user", "content": fill(section.prompt, fields)}
        messages = (*system, prompt)
    category = _field(fields, section.category, index)
    weight = _field(fields, section.weight, index)
    return Item(
        index=index,
        item=fields,
        messages=messages,
        category=None if category is None else str(category),
        weight=1.0 if weight is None else float(weight),
    )


def _chat(row: Row) -> tuple[Row, tuple[Row, ...]]:
    """Return a chat's fields and its prompt; the last assistant message is the reference."""
    messages = list(row["messages"])
    reference = ""
    if messages and messages[-1].get("role") == "assistant":
        reference = str(messages.pop().get("content") or "")
    asked = [str(m.get("content") or "") for m in messages if m.get("role") == "user"]
    others = {name: value for name, value in row.items() if name != "messages"}
    fields = {"reference": reference, "input_text": asked[-1] if asked else "", **others}
    return fields, tuple(messages)


def _fields(row: Row) -> Row:
    inner = row.get("item")
    return inner if isinstance(inner, dict) else row


def _field(fields: Row, name: str | None, index: int) -> Any:
    if name is None:
        return None
    if name not in fields:
        raise InvalidInput(f"Test row {index} has no field {name!r}.")
    return fields[name]
