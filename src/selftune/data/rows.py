"""What a row is, whatever its shape: the prompt that it asks and the answer that it gives.

Every part of this stage compares and counts rows by these two texts.
"""

from typing import Any, Literal, NamedTuple

from selftune.data.problems import Problem
from selftune.models.messages import content_text

Row = dict[str, Any]
Kind = Literal["chat", "preference", "prompt", "completion", "item", "fields"]
"""`prompt` is a chat that does not end with the assistant, as reinforcement asks for."""

_QUESTION_FIELDS = (
    "question",
    "input_text",
    "input",
    "prompt",
    "query",
    "instruction",
    "message",
    "text",
    "summary",
)


class Line(NamedTuple):
    """One row and where it stood, or what keeps it from being read.

    A problem beside a row is a warning: the row can be used.
    """

    number: int
    """Counted from 1: the line of the file, or the entry where a container has no lines."""
    row: Row | None
    problem: Problem | None = None


def kind_of(row: Row) -> Kind:
    """Return what a row is, by its keys."""
    messages = row.get("messages")
    if isinstance(messages, list):
        last = messages[-1] if messages else None
        ends = isinstance(last, dict) and last.get("role") == "assistant"
        return "chat" if ends or not messages else "prompt"
    if "preferred_output" in row:
        return "preference"
    if isinstance(row.get("item"), dict):
        return "item"
    if "prompt" in row and "completion" in row:
        return "completion"
    return "fields"


def fields_of(row: Row) -> Row:
    """Return what templates call `item`: the inner object of `{"item": …}`, or the row."""
    inner = row.get("item")
    return inner if isinstance(inner, dict) else row


def prompt_text(row: Row, field: str | None = None) -> str:
    """Return what a row asks: all that users say in it, without system messages.

    Rows of fields ask with `field`, or with the first field that is named like a question, or with
    their longest text.
    """
    messages = row.get("messages")
    if messages is None and isinstance(row.get("input"), dict):
        messages = row["input"].get("messages")  # a preference row
    if isinstance(messages, list):
        asked = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
        return "\n".join(content_text(message) for message in asked)
    fields = fields_of(row)
    named = (field,) if field is not None else _QUESTION_FIELDS
    for name in named:
        if isinstance(fields.get(name), str):
            return str(fields[name])
    texts = [value for value in fields.values() if isinstance(value, str)]
    return max(texts, key=len, default="")


def answer_text(row: Row) -> str:
    """Return what the assistant says last in a row, or its preferred or written completion."""
    for messages in (row.get("messages"), row.get("preferred_output")):
        if isinstance(messages, list):
            said = [m for m in messages if isinstance(m, dict) and m.get("role") == "assistant"]
            return content_text(said[-1]) if said else ""
    completion = row.get("completion")
    return completion if isinstance(completion, str) else ""
