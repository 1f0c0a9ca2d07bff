"""Rows as questions: what to send so that a model answers a row, and the row with an answer in it."""

from collections.abc import Sequence
from typing import Any

from selftune.data.rows import Row, answer_text, fields_of, prompt_text
from selftune.models.messages import SYSTEM_ROLES
from selftune.models.stored import TOOL_KEYS

Messages = list[dict[str, Any]]


def asked_messages(row: Row, system: str | None = None) -> Messages:
    """Return the messages that a model has to answer: all before the row's last answer.

    A row of fields becomes one user message. `system` stands in for a system message that is
    missing, e.g. in evaluation rows.
    """
    messages = row.get("messages")
    if messages is None and isinstance(row.get("input"), dict):
        messages = row["input"].get("messages")  # a preference row
    if isinstance(messages, list):
        found = [dict(message) for message in messages if isinstance(message, dict)]
        while found and found[-1].get("role") == "assistant":
            found.pop()
        for message in found:
            message.pop("weight", None)  # it is for training, and endpoints refuse it
    else:
        text = prompt_text(row)
        found = [{"role": "user", "content": text}] if text else []
    has_system = any(message.get("role") in SYSTEM_ROLES for message in found)
    if system is not None and found and not has_system:
        found.insert(0, {"role": "system", "content": system})
    return found


def expected_answer(row: Row, field: str | None = None) -> str:
    """Return the right answer of a row: the assistant's last words, or a field of it."""
    fields = fields_of(row)
    if field is not None:
        return str(fields.get(field, ""))
    said = answer_text(row)
    if said:
        return said
    named = next((name for name in _ANSWER_FIELDS if name in fields), None)
    return "" if named is None else str(fields[named])


_ANSWER_FIELDS = (
    "correct_label",
    "label",
    "answer",
    "expected",
    "reference_answer",
    "output",
    "completion",
    "category",
)


def tools_of(row: Row) -> dict[str, Any]:
    """Return what a row says about tools: it belongs to the question and to the training row."""
    return {name: row[name] for name in TOOL_KEYS if row.get(name) is not None}


def answered(
    messages: Sequence[dict[str, Any]], answer: dict[str, Any], tools: dict[str, Any] | None = None
) -> Row:
    """Return a training row: the messages, then the assistant's answer."""
    return {"messages": [*messages, answer], **(tools or {})}


def said(text: str) -> dict[str, Any]:
    """Return an assistant's message."""
    return {"role": "assistant", "content": text}


def without_system(messages: Sequence[dict[str, Any]]) -> Messages:
    """Return the messages that are not the system's: what a tuned model can do without."""
    return [message for message in messages if message.get("role") not in SYSTEM_ROLES]
