"""A row of any shape -> what was asked, in the words of chats: messages, and what stood beside them.

A row is a chat, a line of a batch or of a log, a preference, or an output item of an eval; its request
is one of the chat API or of the Responses API.
"""

from typing import Any

from pydantic import ValidationError

from selftune.api.responses.items import messages_of
from selftune.api.responses.wire import CreateResponse
from selftune.core.errors import InvalidInput
from selftune.models.messages import OF_TOOLS, calls_text, content_text, tools_of

Message = dict[str, Any]
Row = dict[str, Any]
WRAPPED = ("body", "request", "input", "prompt", "sample")
"""Fields under which logs, batches, preferences and output items keep what was asked."""
_OF_REQUEST = ("response_format", "max_tokens", "max_completion_tokens", "stop")
CARRIED = (*OF_TOOLS, *_OF_REQUEST)
"""What a request carries besides its messages, and what changes the answer for good reason."""
LIMITS = ("max_tokens", "max_completion_tokens")
_OF_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")
_OF_RESPONSE = (
    "input",
    "instructions",
    "temperature",
    "max_output_tokens",
    "text",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
)
_HOTTEST = 2
"""Highest temperature that the API takes."""
_DEEPEST = 2
"""Logs write a request's body into the request."""


def request_in(row: Row, depth: int = _DEEPEST) -> Row | None:
    """Return the part of a row that asks, as the body of a chat; None where nothing can be asked."""
    if isinstance(row.get("messages"), list):
        return row
    if _is_response(row):
        return _chat_of(row)
    for name in WRAPPED:
        inner = row.get(name)
        if isinstance(inner, str):
            return {**row, "messages": [_user(inner)]}
        if isinstance(inner, list):
            return {**row, "messages": inner}
        found = request_in(inner, depth - 1) if isinstance(inner, dict) and depth else None
        if found is not None:
            return found
    return None


def carried(asked: Row) -> dict[str, Any]:
    """Return what a request carries besides messages."""
    found = {name: asked[name] for name in _OF_REQUEST if asked.get(name) is not None}
    shape = found.get("response_format")
    if not isinstance(shape, dict) or shape.get("type") in (None, "text"):
        found.pop("response_format", None)
    return tools_of(asked) | found


def message_of(given: Message) -> Message:
    """Return a message with what requests know; ids and nulls of stored ones are left."""
    kept = {name: given[name] for name in _OF_MESSAGE if given.get(name) is not None}
    is_call = "tool_calls" in kept or "function_call" in kept
    return {"role": str(given.get("role") or "user"), "content": None if is_call else "", **kept}


def said_in_words(message: Message) -> tuple[str, str]:
    """Return the text of an answer, and its calls as a text."""
    return content_text(message), calls_text(message)


def temperature_of(*given: Row) -> float | None:
    """Return the first temperature that is told and can be one."""
    told = (each.get("temperature") for each in given)
    known = (each for each in told if isinstance(each, int | float) and 0 <= each <= _HOTTEST)
    return next(map(float, known), None)


def _is_response(row: Row) -> bool:
    """Return whether a row is a request of the Responses API, as far as its keys tell."""
    given = row.get("input")
    if isinstance(given, list):
        return all(isinstance(each, dict) for each in given)
    return isinstance(given, str) and ("instructions" in row or "model" in row)


def _chat_of(body: Row) -> Row | None:
    """Return the body of a chat that asks the same; None where it goes on from what is not here."""
    if body.get("previous_response_id") or body.get("conversation"):
        return None
    given = {name: body[name] for name in _OF_RESPONSE if body.get(name) is not None}
    try:
        wanted = CreateResponse.model_validate({"model": "-", **given})
        messages = messages_of(wanted.input)
        if wanted.instructions:
            messages = ({"role": "system", "content": wanted.instructions}, *messages)
        chat = wanted.chat(messages)
    except (ValidationError, InvalidInput):
        asked = body["input"]
        is_chat = isinstance(asked, list) and all("role" in each for each in asked)
        return {**body, "messages": asked} if is_chat else None
    return {**body, **chat, "model": body.get("model")}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
