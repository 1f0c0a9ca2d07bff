"""What is said to a model, as items of the Responses API and as messages of a chat."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel

from selftune.core.errors import InvalidInput

_TEXTS = ("input_text", "output_text", "text")
_READ = "the models here read text only"


class Part(BaseModel):
    """A part of an item."""

    type: str
    text: str | None = None
    refusal: str | None = None

    def of_chat(self, param: str) -> dict[str, Any]:
        """Return the part as chats write it."""
        if self.type in _TEXTS and self.text is not None:
            return {"type": "text", "text": self.text}
        if self.type == "refusal" and self.refusal is not None:
            return {"type": "refusal", "refusal": self.refusal}
        raise _unreadable(f"a part of type {self.type!r}", param)


class Item(BaseModel):
    """An item of a request's input."""

    type: str | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None

    def message(self, param: str) -> dict[str, Any]:
        """Return the item as a message of a chat.

        Raises:
            InvalidInput: it is none of the kinds that are read, or has what is no text.

        """
        if self.type == "function_call":
            self._check(param, "call_id", "name", "arguments")
            function = {"name": self.name, "arguments": self.arguments}
            call = {"id": self.call_id, "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        if self.type == "function_call_output":
            self._check(param, "call_id", "output")
            content = _content(self.output, f"{param}.output")
            return {"role": "tool", "tool_call_id": self.call_id, "content": content}
        if self.type not in (None, "message"):
            raise _unreadable(f"an item of type {self.type!r}", param)
        self._check(param, "role", "content")
        return {"role": self.role, "content": _content(self.content, f"{param}.content")}

    def _check(self, param: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) is None:
                raise InvalidInput(
                    f"Missing required parameter: '{param}.{name}'.",
                    code="missing_required_parameter",
                    param=f"{param}.{name}",
                )


def messages_of(given: str | list[Item]) -> tuple[dict[str, Any], ...]:
    """Return a request's input as messages of a chat; raises what `Item.message` raises.

    What a model said and called at once is one message, as it is in training.
    """
    if isinstance(given, str):
        return ({"role": "user", "content": given},)
    return joined([item.message(f"input.{index}") for index, item in enumerate(given)])


def joined(messages: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return messages with each call of a tool in the message that it belongs to."""
    found: list[dict[str, Any]] = []
    for message in messages:
        is_call = message["content"] is None and message.get("tool_calls")
        if is_call and found and found[-1]["role"] == "assistant":
            calls = [*found[-1].get("tool_calls", ()), *message["tool_calls"]]
            found[-1] = found[-1] | {"tool_calls": calls}
        else:
            found.append(message)
    return tuple(found)


def check_calls(messages: Iterable[dict[str, Any]]) -> None:
    """Refuse a result of a call that nobody made.

    Raises:
        InvalidInput: in OpenAI's words.

    """
    called: set[str] = set()
    for message in messages:
        called |= {call["id"] for call in message.get("tool_calls") or ()}
        name = message.get("tool_call_id")
        if message["role"] == "tool" and name not in called:
            raise InvalidInput(
                f"No tool call found for function call output with call_id {name}.", param="input"
            )


def call_item(call: dict[str, Any], item_id: str, status: str = "completed") -> dict[str, Any]:
    """Return a call of a tool as an item."""
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call["id"],
        "name": call["function"]["name"],
        "arguments": call["function"]["arguments"],
    }


def items_json(message: dict[str, Any], item_id: str) -> list[dict[str, Any]]:
    """Return a message of a chat as items that were input."""
    if message["role"] == "tool":
        content = message["content"]
        output = content if isinstance(content, str) else [_input_part(each) for each in content]
        return [
            {
                "id": f"fco_{item_id}",
                "type": "function_call_output",
                "status": "completed",
                "call_id": message["tool_call_id"],
                "output": output,
            }
        ]
    calls = [
        call_item(call, f"fc_{item_id}_{index}")
        for index, call in enumerate(message.get("tool_calls") or ())
    ]
    has_text = bool(message["content"]) or not calls
    return [item_json(message, f"msg_{item_id}"), *calls] if has_text else calls


def item_json(message: dict[str, Any], item_id: str) -> dict[str, Any]:
    """Return a message of a chat as an item that was input."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    is_answer = message["role"] == "assistant"
    return {
        "id": item_id,
        "type": "message",
        "role": message["role"],
        "status": "completed",
        "content": [output_part(part) if is_answer else _input_part(part) for part in parts or ()],
    }


def output_part(part: dict[str, Any], logprobs: Any = None) -> dict[str, Any]:
    """Return a part of what a model said."""
    if part["type"] == "refusal":
        return {"type": "refusal", "refusal": part["refusal"]}
    text = {"type": "output_text", "text": part["text"], "annotations": []}
    return text | {"logprobs": logprobs or []}


def _content(given: str | list[Part] | None, param: str) -> str | list[dict[str, Any]]:
    if not isinstance(given, list):
        return given or ""
    return [part.of_chat(f"{param}.{index}") for index, part in enumerate(given)]


def _input_part(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "input_text", "text": part.get("text") or ""}


def _unreadable(what: str, param: str) -> InvalidInput:
    return InvalidInput(
        f"The input has {what}, and {_READ}: send messages of text.",
        code="unsupported_value",
        param=param,
    )
