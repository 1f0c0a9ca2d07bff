"""What is said to a model, as items of the Responses API and as messages of a chat."""

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

    def message(self, param: str) -> dict[str, Any]:
        """Return the item as a message of a chat.

        Raises:
            InvalidInput: it is no message, or has what is no text.

        """
        if self.type not in (None, "message"):
            raise _unreadable(f"an item of type {self.type!r}", param)
        for name, value in (("role", self.role), ("content", self.content)):
            if value is None:
                raise InvalidInput(
                    f"Missing required parameter: '{param}.{name}'.",
                    code="missing_required_parameter",
                    param=f"{param}.{name}",
                )
        if isinstance(self.content, list):
            content: Any = [
                part.of_chat(f"{param}.content.{index}") for index, part in enumerate(self.content)
            ]
        else:
            content = self.content
        return {"role": self.role, "content": content}


def messages_of(given: str | list[Item]) -> tuple[dict[str, Any], ...]:
    """Return a request's input as messages of a chat; raises what `Item.message` raises."""
    if isinstance(given, str):
        return ({"role": "user", "content": given},)
    return tuple(item.message(f"input.{index}") for index, item in enumerate(given))


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


def _input_part(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "input_text", "text": part.get("text") or ""}


def _unreadable(what: str, param: str) -> InvalidInput:
    return InvalidInput(
        f"The input has {what}, and {_READ}: send messages of text.",
        code="unsupported_value",
        param=param,
    )
