"""Items and prompts of a tool -> rows of an eval file, named so that old and new rounds pair."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.templates import fill
from selftune.evaluate.interchange.found import Row
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.untrusted import fault_of
from selftune.evaluate.items import item_id

_TEXT_PARTS = ("text", "input_text", "output_text")
_NAMES = ("id", "item_id", "source_id")
_ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class Question:
    """An item, before it is asked."""

    id: str
    fields: Row
    place: str
    messages: tuple[Row, ...] | None = None
    """What is asked, where that is not for a template to say."""
    sample: Row | None = None
    """The answer, where the data has it."""


@dataclass(frozen=True)
class Layout:
    """Rows of an eval file, and what its evaluation section says of them."""

    rows: tuple[Row, ...]
    evaluation: dict[str, Any]


def named(fields: Sequence[Row], id_field: str | None) -> list[str]:
    """Return the ids of items: a field's value, or what they say; equal items get a number behind."""
    names = [_name(each, id_field) for each in fields]
    seen: dict[str, int] = {}
    found = []
    for name in names:
        again = seen[name] = seen.get(name, 0) + 1
        found.append(name if again == 1 else f"{name}-{again}")
    return found


def usable(fields: Any, id_field: str | None, place: str, gaps: Gaps) -> bool:
    """Return whether fields can be an item; say why they cannot."""
    fault = _fault(fields) if isinstance(fields, dict) else "the item is not an object"
    if fault is None and id_field is not None and not isinstance(fields.get(id_field), str | int):
        fault = f"the item has no name in the field {id_field!r}"
    if fault is not None:
        gaps.row(fault, place)
    return fault is None


def _fault(fields: Row) -> str | None:
    try:
        json.dumps(fields, allow_nan=False)  # what files hold is plain but for its numbers
    except ValueError:
        return fault_of(fields)
    return None


def lay_out(
    questions: Sequence[Question],
    template: Sequence[Row] | None,
    id_field: str | None,
    gaps: Gaps,
) -> Layout:
    """Return the rows of an eval file; a row whose prompt cannot be made is a gap.

    A template of one user message, after a plain system message or none, stays a template; any
    other is filled here, and the rows are chats.
    """
    stays = None if any(q.messages is not None for q in questions) else _as_prompt(template)
    if template is None and all(q.messages is None and q.sample is None for q in questions):
        gaps.part("the files do not say what is asked: write a `prompt` under [evaluation]")
        stays = {}
    key = id_field or next((n for n in _NAMES if all(n not in q.fields for q in questions)), "")
    if not key:
        raise InvalidInput(f"The items have fields {', '.join(_NAMES)}: say with --id what is one.")
    rows: list[Row] = []
    for question in questions:
        fields = question.fields if id_field else {key: question.id, **question.fields}
        if question.sample is not None:
            rows.append({"item": fields, "sample": question.sample})
            continue
        if not stays and stays is not None:
            rows.append({"item": fields})
            continue
        try:
            messages = _messages(question, template)
        except InvalidInput as error:
            gaps.row(error.message.removesuffix("."), question.place)
            continue
        rows.append({"item": fields} if stays is not None else {**fields, "messages": messages})
    return Layout(tuple(rows), {"id": key, **(stays or {})})


def plain_messages(value: Any) -> tuple[Row, ...]:
    """Return a chat of text messages; a text is a user's.

    Raises:
        InvalidInput: it is no chat, or there is more than text in it.

    """
    if isinstance(value, str):
        return ({"role": "user", "content": value},)
    if not isinstance(value, list) or not value:
        raise InvalidInput("The prompt is neither a text nor a list of messages.")
    return tuple(_message(each) for each in value)


def text_of(content: Any) -> str:
    """Return the text of a message's content.

    Raises:
        InvalidInput: there is more than text in it.

    """
    if isinstance(content, str):
        return content
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list) or not all(isinstance(part, str | dict) for part in parts):
        raise InvalidInput("A message of the prompt has no text.")
    others = {str(p.get("type")) for p in parts if isinstance(p, dict)} - set(_TEXT_PARTS)
    if others:
        raise InvalidInput(
            f"A message of the prompt has parts of type {', '.join(sorted(others))}."
        )
    return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in parts)


def filled(template: Sequence[Row], fields: Row) -> tuple[Row, ...]:
    """Return the messages of a template for one item; raises what `fill` raises."""
    return tuple(m | {"content": fill(m["content"], fields)} for m in template)


def _message(value: Any) -> Row:
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        role = value.get("role") if isinstance(value, dict) else None
        raise InvalidInput(f"A message of the prompt has the role {role!r}.")
    if value.get("tool_calls") or value.get("function_call"):
        raise InvalidInput("A message of the prompt calls a tool.")
    return {"role": value["role"], "content": text_of(value.get("content"))}


def _messages(question: Question, template: Sequence[Row] | None) -> list[Row]:
    if question.messages is not None:
        messages = list(question.messages)
    elif template is not None:
        messages = list(filled(template, question.fields))
    else:
        raise InvalidInput("The files do not say what was asked.")
    if messages[-1]["role"] == "assistant":
        raise InvalidInput("The prompt ends with the assistant's own words.")
    return messages


def _as_prompt(template: Sequence[Row] | None) -> dict[str, str] | None:
    """Return a template as the evaluation section has it, where it can say it."""
    if template is None:
        return None
    roles = [message["role"] for message in template]
    if roles == ["user"]:
        return {"prompt": template[0]["content"]}
    plain = template[0]["content"]
    if roles == ["system", "user"] and not any(mark in plain for mark in ("{{", "{%", "{#")):
        return {"system": plain, "prompt": template[1]["content"]}
    return None


def _name(fields: Row, id_field: str | None) -> str:
    return str(fields[id_field]) if id_field is not None else item_id(fields, ())
