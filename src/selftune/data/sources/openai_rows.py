"""OpenAI's shape with its keys in OpenAI's order, so that equal rows have equal bytes."""

from collections.abc import Iterable
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.data.rows import Row
from selftune.models.messages import SYSTEM_ROLES

_ROW_KEYS = ("messages", "tools", "parallel_tool_calls", "functions")
_PREFERENCE_KEYS = ("input", "preferred_output", "non_preferred_output")
_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "function_call", "tool_call_id", "weight")
_CALL_KEYS = ("id", "type", "function")
_FUNCTION_KEYS = ("name", "description", "arguments")


def ordered_chat(row: Row) -> Row:
    """Return a chat, or the input of a preference row, with its keys in order."""
    chat = _in_order(row, _ROW_KEYS)
    for key in _ROW_KEYS:
        if chat.get(key, ...) is None:
            del chat[key]  # null says what absence says
    if isinstance(chat.get("messages"), list):
        chat["messages"] = ordered_messages(chat["messages"])
    if isinstance(chat.get("tools"), list):
        chat["tools"] = [_call(tool) for tool in chat["tools"]]
    return chat


def ordered_preference(row: Row) -> Row:
    """Return a preference row with its keys in order."""
    ordered = _in_order(row, _PREFERENCE_KEYS)
    if isinstance(ordered.get("input"), dict):
        ordered["input"] = ordered_chat(ordered["input"])
    for key in _PREFERENCE_KEYS[1:]:
        if isinstance(ordered.get(key), list):
            ordered[key] = ordered_messages(ordered[key])
    return ordered


def ordered_messages(messages: list[Any]) -> list[Any]:
    """Return messages with their keys in order; one that calls a tool and says nothing says null."""
    return [_message(message) if isinstance(message, dict) else message for message in messages]


def split_turns(row: Row, shape: str) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the system message of a chat, and its questions with their answers, as plain text.

    Raises:
        InvalidInput: the chat has more than that; `shape` is what cannot hold it.

    """
    messages = row.get("messages")
    if not isinstance(messages, list) or row.keys() - {"messages"}:
        more = ", ".join(sorted(map(str, row.keys() - {"messages"})))
        raise InvalidInput(f"has {more or 'no messages'}, which {shape} cannot hold")
    texts = [_plain(message, index, shape) for index, message in enumerate(messages, start=1)]
    system = None
    if texts and texts[0][0] in SYSTEM_ROLES:
        system, texts = texts[0][1], texts[1:]
    roles = [role for role, _ in texts]
    if not texts or roles != ["user", "assistant"] * (len(texts) // 2):
        raise InvalidInput(f"does not go from user to assistant in turn, as {shape} needs")
    said = [text for _, text in texts]
    return system, list(zip(said[::2], said[1::2], strict=True))


def _plain(message: Any, index: int, shape: str) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise InvalidInput(f"has no plain text in message {index}, and {shape} holds only text")
    more = [k for k in message if k not in ("role", "content") and (k, message[k]) != ("weight", 1)]
    if more:
        raise InvalidInput(f"has {more[0]!r} in message {index}, which {shape} cannot hold")
    return str(message.get("role")), message["content"]


def _message(message: Row) -> Row:
    ordered = {k: v for k, v in _in_order(message, _MESSAGE_KEYS).items() if v is not None}
    calls = ordered.get("tool_calls")
    if isinstance(calls, list):
        ordered["tool_calls"] = [_call(call) for call in calls]
    if "content" not in ordered and ("content" in message or calls or "function_call" in ordered):
        return _in_order(ordered | {"content": None}, _MESSAGE_KEYS)
    return ordered


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    ordered = _in_order(call, _CALL_KEYS)
    if isinstance(ordered.get("function"), dict):
        ordered["function"] = _in_order(ordered["function"], _FUNCTION_KEYS)
    return ordered


def _in_order(mapping: Row, keys: Iterable[str]) -> Row:
    return {key: mapping[key] for key in keys if key in mapping} | mapping
