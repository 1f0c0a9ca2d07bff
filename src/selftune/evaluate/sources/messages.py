"""A run's input messages and an item -> the messages of a question."""

from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.templates import roots
from selftune.evaluate.judging import filled
from selftune.evaluate.sources.data_source import ItemReference, Template

Message = dict[str, Any]
STORED_INPUT = ItemReference(type="item_reference", item_reference="item.input")
"""What is asked again, where nothing else is said."""
_KEPT = ("tool_calls", "tool_call_id", "name", "function_call")


def messages_for(wanted: Template | ItemReference, item: dict[str, Any]) -> tuple[Message, ...]:
    """Return what is asked of one item.

    Raises:
        InvalidInput: a placeholder or the reference names what the item does not have.

    """
    if isinstance(wanted, Template):
        return filled(tuple(each.model_dump() for each in wanted.template), item, {})
    return _referred(wanted.item_reference, item)


def check_messages(wanted: Template | ItemReference | None) -> None:
    """Refuse templates that read anything but the item.

    Raises:
        InvalidInput: names the placeholder.

    """
    if not isinstance(wanted, Template):
        return
    for number, message in enumerate(wanted.template):
        for text in _texts(message.content):
            strangers = sorted(roots(text) - {"item"})
            if strangers:
                where = f"data_source.input_messages.template.{number}.content"
                raise InvalidInput(
                    f"Invalid value for '{where}': templates read only 'item', as in "
                    f"{{{{ item.{strangers[0]} }}}}, not {strangers[0]!r}.",
                    code="invalid_value",
                    param=where,
                )


def as_chat(messages: Any) -> tuple[Message, ...]:
    """Return messages that somebody wrote, in the words of the chat API.

    Raises:
        InvalidInput: they are none.

    """
    if isinstance(messages, str):
        return ({"role": "user", "content": messages},)
    if not isinstance(messages, list | tuple) or not messages:
        raise InvalidInput("The item's input is neither a text nor a list of messages.")
    return tuple(_message(each) for each in messages)


def _referred(path: str, item: dict[str, Any]) -> tuple[Message, ...]:
    value: Any = item
    for step in path.split(".")[1:]:
        if not isinstance(value, dict) or step not in value:
            raise InvalidInput(f"The item has no {path!r}: its fields are {', '.join(item)}.")
        value = value[step]
    return as_chat(value)


def _message(message: Any) -> Message:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidInput("A message of the item's input has no role.")
    kept = {name: message[name] for name in _KEPT if message.get(name) is not None}
    return {"role": message["role"], "content": _content(message.get("content")), **kept}


def _content(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content
    parts = [_part(part) for part in (content if isinstance(content, list) else [content])]
    if all(part.get("type") == "text" for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return parts


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise InvalidInput("A part of a message of the item's input is no object.")
    if part.get("type") in ("input_text", "output_text", "text"):
        return {"type": "text", "text": str(part.get("text", ""))}
    if part.get("type") == "input_image":
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part.get("image_url"), **detail}}
    return part


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list | tuple) else [content]
    return [
        text
        for part in parts
        for text in ([part] if isinstance(part, str) else part.values())
        if isinstance(text, str)
    ]
