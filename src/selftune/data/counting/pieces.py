"""What is counted of a row: its texts, and the constants that a chat adds to them.

The constants are those that OpenAI published in its cookbook, "How to count tokens with tiktoken"
(read 2025): 3 tokens for a message and those of its role, 1 more for a name, 3 to prime the reply,
and more for definitions of tools. It publishes none for calls of tools inside messages: of those
the name and the arguments are counted as text.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from selftune.data.rows import Row, fields_of, kind_of
from selftune.models.messages import SYSTEM_ROLES, content_text
from selftune.models.tokens import TOKENS_PER_MESSAGE, TOKENS_PER_REPLY

PARTS = ("system", "user", "assistant", "tool", "tools", "images", "overhead", "fields")
"""`tools` are definitions and `tool` what tools answered; `fields` are the texts of a row that is
no chat."""
SYSTEM, USER, ASSISTANT, TOOL, TOOLS, IMAGES, OVERHEAD, FIELDS = range(len(PARTS))
_COLUMNS = {"assistant": ASSISTANT, "tool": TOOL, "function": TOOL} | dict.fromkeys(
    SYSTEM_ROLES, SYSTEM
)

TOKENS_PER_NAME = 1
LOW_DETAIL_IMAGE = 85
"""Tokens of an image with `detail: low` (OpenAI's vision guide); of others the size decides."""
TOOL_START = {"o200k_base": 7, "cl100k_base": 10}
"""By encoding. With these constants the cookbook's own example has 101 prompt tokens for gpt-4o and
105 for gpt-3.5-turbo, as the API says."""
_TOOL_PROPERTIES, _TOOL_PROPERTY, _ENUM, _ENUM_ITEM, _TOOLS_END = 3, 3, -3, 3, 12

IN_PROMPT, TRAINED, ANSWER, SYSTEM_MESSAGE, REJECTED, UNKNOWN_IMAGE = 1, 2, 4, 8, 16, 32
"""What a piece is or is part of; several may hold."""

Message = Mapping[str, Any]


class Piece(NamedTuple):
    """One text that is counted."""

    column: int
    """Index into PARTS."""
    text: str
    flags: int
    constant: int = 0
    """Tokens beside those of the text."""


def pieces_of(row: Row, tool_start: int) -> Iterator[Piece]:
    """Give every piece of a row, whatever its kind; what is malformed has no pieces."""
    kind = kind_of(row)
    if kind in ("fields", "item"):
        for value in fields_of(row).values():
            if isinstance(value, str):
                yield Piece(FIELDS, value, 0)
    elif kind == "completion":
        yield Piece(USER, _text(row["prompt"]), IN_PROMPT)
        yield Piece(ASSISTANT, _text(row["completion"]), ANSWER | TRAINED)
    else:
        yield from _chat(row, tool_start)


def sides_of(row: Row) -> tuple[list[Message], list[Message]]:
    """Return what a request sends, and what comes from the last answer on.

    Of a preference row the second holds the preferred and then the rejected answer.
    """
    if kind_of(row) == "preference":
        answers = dicts(row.get("preferred_output")) + dicts(row.get("non_preferred_output"))
        return dicts(_holder(row).get("messages")), answers
    said = dicts(row.get("messages"))
    for last in range(len(said) - 1, -1, -1):
        if said[last].get("role") == "assistant":
            return said[:last], said[last:]
    return said, []


def is_trained(message: Message) -> bool:
    """Return whether a training learns to write this message."""
    return message.get("role") == "assistant" and message.get("weight") != 0


def tools_of(row: Row) -> list[Message]:
    """Return the functions that a row defines, in the modern or the older shape."""
    functions = [tool.get("function") for tool in dicts(_holder(row).get("tools"))]
    functions += dicts(_holder(row).get("functions"))
    return [function for function in functions if isinstance(function, dict)]


def said(message: Message) -> str:
    """Return all that a message says: its text, a refusal, and the calls of tools in it."""
    text = content_text(message)
    if not isinstance(message, dict):
        return text  # what is malformed says nothing
    calls = [call.get("function") for call in dicts(message.get("tool_calls"))]
    calls += dicts([message.get("function_call")])
    if message.get("refusal") is None and not calls:
        return text
    called = [
        _text(call.get(key))
        for call in calls
        if isinstance(call, dict)
        for key in ("name", "arguments")
    ]
    return "".join([text, _text(message.get("refusal")), *called])


def dicts(value: Any) -> list[Message]:
    """Return the mappings of a list, or nothing where there is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _chat(row: Row, tool_start: int) -> Iterator[Piece]:
    sent, answers = sides_of(row)
    for text, constant in _definitions(row, tool_start):
        yield Piece(TOOLS, text, IN_PROMPT, constant)
    yield Piece(OVERHEAD, "", IN_PROMPT, TOKENS_PER_REPLY)
    for message in sent:
        yield from _message(message, IN_PROMPT)
    is_preference = "preferred_output" in row
    for number, message in enumerate(answers):
        yield from _message(message, ANSWER if number == 0 else REJECTED * is_preference)


def _message(message: Message, flags: int) -> Iterator[Piece]:
    role = message.get("role")
    column = _COLUMNS.get(role, USER) if isinstance(role, str) else USER
    if column == SYSTEM:
        flags |= SYSTEM_MESSAGE
    around = flags & ~ANSWER
    yield Piece(OVERHEAD, _text(role), around, TOKENS_PER_MESSAGE)
    yield Piece(column, said(message), flags | (TRAINED if is_trained(message) else 0))
    if message.get("name"):
        yield Piece(OVERHEAD, _text(message["name"]), around, TOKENS_PER_NAME)
    if isinstance(message.get("content"), list):
        yield from _images(message["content"], around)


def _images(content: list[Any], flags: int) -> Iterator[Piece]:
    for part in dicts(content):
        image = part.get("image_url")
        if isinstance(image, dict) and image.get("detail") == "low":
            yield Piece(IMAGES, "", flags, LOW_DETAIL_IMAGE)
        elif isinstance(image, dict):
            yield Piece(IMAGES, "", flags | UNKNOWN_IMAGE)


def _definitions(row: Row, tool_start: int) -> Iterator[tuple[str, int]]:
    """Give texts and constants of the definitions of tools, by the cookbook's rule."""
    functions = tools_of(row)
    for function in functions:
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        about = _text(function.get("description")).removesuffix(".")
        constant = tool_start + (_TOOL_PROPERTIES if properties else 0)
        yield f"{_text(function.get('name'))}:{about}", constant
        if isinstance(properties, dict):
            for name, schema in properties.items():
                yield from _property(str(name), schema if isinstance(schema, dict) else {})
    if functions:
        yield "", _TOOLS_END


def _property(name: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    choices = schema.get("enum")
    about = _text(schema.get("description")).removesuffix(".")
    constant = _TOOL_PROPERTY + (_ENUM if isinstance(choices, list) else 0)
    yield f"{name}:{_text(schema.get('type'))}:{about}", constant
    if isinstance(choices, list):
        yield from ((str(choice), _ENUM_ITEM) for choice in choices)


def _holder(row: Row) -> Row:
    """Return what has messages and tools: the input of a preference row, or the row."""
    inner = row.get("input")
    return inner if "preferred_output" in row and isinstance(inner, dict) else row


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
