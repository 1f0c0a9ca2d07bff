"""Chats as OpenAI writes them, on the wire and in training files, as chat templates want them.

What templates cannot show is refused here: images, audio, files, tools that are no functions.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput
from selftune.models.messages import SYSTEM_ROLES, whole_text

Message = dict[str, Any]

_ROLES = frozenset(("system", "user", "assistant", "tool"))
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_SHOWN = 60


class Habits(NamedTuple):
    """What a chat template can show, as its probes found."""

    system: bool = True
    """Whether it shows system messages; else they become part of the user's next message."""
    in_a_row: bool = True
    """Whether two messages of a user can follow each other; else they become one."""
    arguments_as_text: bool = False
    """Whether it wants arguments of calls as JSON text, and not as an object."""


class Chat(NamedTuple):
    """A conversation that is ready to be rendered."""

    messages: list[Message]
    weights: list[float]
    """Of each message: whether the loss of training counts it; 0 for all but the assistant's."""


def chat_of(messages: Iterable[Any], habits: Habits) -> Chat:
    """Return a conversation as a chat template with these habits wants it.

    Raises:
        InvalidInput: a message has a role or a content that no chat template can show.

    """
    chat = Chat([], [])
    calls = _CallIds()
    for position, message in enumerate(messages):
        where = f"messages[{position}]"
        if not isinstance(message, Mapping):
            raise InvalidInput(f"{where} is no object.", param=where)
        told = _message(message, where, calls, habits)
        _append(chat, told, _weight(message, where), habits)
    if not chat.messages:
        raise InvalidInput(
            "'messages' is empty; a chat has at least one message.", param="messages"
        )
    return chat


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a row or request; its deprecated `functions` become tools."""
    functions = row.get("functions") or ()
    given = [*(row.get("tools") or ()), *({"type": "function", "function": f} for f in functions)]
    return [_whole(dict(tool)) for tool in given]


class _CallIds:
    """Numbers calls, since ids are made up anew for each answer, and some templates show them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._last = ("", "")

    def of_call(self, call_id: Any, name: str) -> str:
        number = f"call{len(self._known):05d}"  # Mistral's templates want nine letters and digits
        self._last = (number, name)
        self._known[call_id if isinstance(call_id, str) else number] = self._last
        return number

    def of_answer(self, call_id: Any, name: Any) -> tuple[str, str]:
        if isinstance(call_id, str):
            return self._known.get(call_id, (call_id, name if isinstance(name, str) else ""))
        named = (each for each in reversed(self._known.values()) if each[1] == name)
        return next(named, self._last)


def _message(message: Mapping[str, Any], where: str, calls: _CallIds, habits: Habits) -> Message:
    role = message.get("role")
    if role in SYSTEM_ROLES:
        role = "system" if habits.system else "user"
    elif role == "function":
        role = "tool"
    if role not in _ROLES:
        known = "system, developer, user, assistant, tool"
        raise InvalidInput(f"{where}.role {role!r} is not one of {known}.", param=where)
    told: Message = {"role": role, "content": _content(message, where)}
    if role == "tool":
        answered = calls.of_answer(message.get("tool_call_id"), message.get("name"))
        told["tool_call_id"], told["name"] = answered
    elif role == "assistant":
        written = _calls(message, where, calls, habits)
        if written:
            told["tool_calls"] = written
    if role in ("user", "system") and isinstance(message.get("name"), str):
        told["name"] = whole_text(message["name"])
    return told


def _content(message: Mapping[str, Any], where: str) -> str:
    content = message.get("content")
    if content is None:
        refusal = message.get("refusal")
        return whole_text(refusal) if isinstance(refusal, str) else ""
    if isinstance(content, str):
        return whole_text(content)
    if not isinstance(content, Sequence):
        raise InvalidInput(f"{where}.content is neither text nor a list of parts.", param=where)
    return "".join(_part(part, f"{where}.content[{at}]") for at, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get(_TEXTS[kind]) if isinstance(part, Mapping) and kind in _TEXTS else None
    if not isinstance(text, str):
        raise InvalidInput(
            f"{where} is of type {str(kind)[:_SHOWN]!r}; this model reads text only.",
            code="unsupported_content",
            param=where,
        )
    return whole_text(text)


def _calls(
    message: Mapping[str, Any], where: str, calls: _CallIds, habits: Habits
) -> list[dict[str, Any]]:
    given = list(message.get("tool_calls") or ())
    if message.get("function_call"):
        given.append({"type": "function", "function": message["function_call"]})
    written = []
    for at, call in enumerate(given):
        place = f"{where}.tool_calls[{at}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InvalidInput(f"{place} calls no function; a call has a name.", param=place)
        name = whole_text(function["name"])
        arguments = _arguments(function.get("arguments"), place, habits)
        made = {"name": name, "arguments": arguments}
        call_id = calls.of_call(call.get("id"), name)
        written.append({"id": call_id, "type": "function", "function": made})
    return written


def _arguments(arguments: Any, where: str, habits: Habits) -> Any:
    value: Any = arguments
    if isinstance(arguments, str):
        try:
            value = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, Mapping):
        raise InvalidInput(
            f"{where}.function.arguments {str(arguments)[:_SHOWN]!r} is no JSON object.",
            param=where,
        )
    value = _whole(dict(value))
    return json.dumps(value, ensure_ascii=False) if habits.arguments_as_text else value


def _weight(message: Mapping[str, Any], where: str) -> float:
    weight = message.get("weight", 1)
    if weight is None:
        weight = 1
    if weight not in (0, 1):
        raise InvalidInput(f"{where}.weight {weight!r} is neither 0 nor 1.", param=where)
    return float(weight) if message.get("role") == "assistant" else 0.0


def _append(chat: Chat, message: Message, weight: float, habits: Habits) -> None:
    """Add a message; instructions that follow each other become one, as templates show but one."""
    as_one = ("system",) if habits.system and habits.in_a_row else ("system", "user")
    if chat.messages and message["role"] in as_one:
        last = chat.messages[-1]
        if last["role"] == message["role"]:
            last["content"] = f"{last['content']}\n\n{message['content']}"
            return
    chat.messages.append(message)
    chat.weights.append(weight)


def _whole(value: Any) -> Any:
    """Replace lone surrogates wherever texts are: JSON may hold them, tokenizers take none."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, Mapping):
        return {whole_text(str(key)): _whole(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return value
