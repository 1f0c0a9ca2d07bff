"""What is said in a message of a chat, and by whom."""

import json
from typing import Any

SYSTEM_ROLES = ("system", "developer")
OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
"""What a request, or a row to train on, says of tools."""


def content_text(message: Any) -> str:
    """Return the text of a message, of its text parts where it has parts; else nothing."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def calls_text(message: Any) -> str:
    """Return the calls of a message, one a line: the name, then the arguments.

    It is the same text however the JSON of the arguments is spaced, ordered and numbered.
    """
    given = message if isinstance(message, dict) else {}
    called = [call.get("function") for call in _dicts(given.get("tool_calls"))]
    lines = [
        f"{each.get('name')} {plain_json(each.get('arguments'))}"
        for each in _dicts([*called, given.get("function_call")])
    ]
    return "\n".join(lines)


def tools_of(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a request or a row says of tools; functions, the older word, become tools."""
    tools = _dicts(asked.get("tools"))
    functions = _dicts(asked.get("functions"))
    if tools:
        beside = {name: asked[name] for name in OF_TOOLS[1:] if asked.get(name) is not None}
        return {"tools": tools, **beside}
    if not functions:
        return {}
    found: dict[str, Any] = {
        "tools": [{"type": "function", "function": each} for each in functions],
        "parallel_tool_calls": False,
    }
    choice = asked.get("function_call")
    if choice is not None:
        named = {"type": "function", "function": choice}
        found["tool_choice"] = named if isinstance(choice, dict) else choice
    return found


def plain_json(text: Any) -> str:
    """Return JSON as all that means the same is written; what is no JSON stays as it is."""
    try:
        value = json.loads(text or "{}", parse_float=_number)
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        return str(text)


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def whole_text(text: str) -> str:
    """Return a text with each lone surrogate as U+FFFD: UTF-8 and tokenizers take no others."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
