"""ShareGPT: `{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}`.

Known variants: the list is called `conversation`; turns say `role` and `content`; `system` and `tools`
stand beside the list, tools as JSON text; calls of tools are turns from `function_call`, and their
results turns from `observation`. Ids of calls are counted: the shape has none.
"""

import json
from collections import deque
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row

_ROLES = {
    "system": "system",
    "developer": "developer",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_WRITTEN = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt"}
_LISTS = ("conversations", "conversation", "messages")


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "ShareGpt":
    """Make the format."""
    del params
    return ShareGpt()


class ShareGpt:
    """Rows of turns that say who they are from."""

    def recognizes(self, row: Row) -> bool:
        turns = next((row[key] for key in _LISTS if isinstance(row.get(key), list)), None)
        if turns is None or (not turns and "messages" in row):
            return False
        first = turns[0] if turns else None
        return "messages" not in row or (isinstance(first, dict) and "from" in first)

    def read(self, row: Row) -> Row:
        if not self.recognizes(row):
            raise InvalidInput("has no list of conversations")
        turns = next(row[key] for key in _LISTS if isinstance(row.get(key), list))
        messages: list[Row] = []
        if isinstance(row.get("system"), str) and row["system"]:
            messages.append({"role": "system", "content": row["system"]})
        calls = _Calls()
        for index, turn in enumerate(turns, start=1):
            messages.append(_message(turn, index, calls))
        tools = _tools(row.get("tools"))
        return {"messages": messages} | ({"tools": tools} if tools else {})

    def write(self, row: Row) -> Row:
        if not isinstance(row.get("messages"), list):
            raise InvalidInput("has no messages")
        turns = [_turn(message, index) for index, message in enumerate(row["messages"], start=1)]
        written: Row = {"conversations": turns}
        if row.get("tools"):
            written["tools"] = json.dumps(row["tools"], ensure_ascii=False)
        for key in row.keys() - {"messages", "tools"}:
            raise InvalidInput(f"has {key!r}, which ShareGPT cannot hold")
        return written


class _Calls:
    """Counts calls of tools, and remembers which wait for a result."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: deque[str] = deque()

    def new(self) -> str:
        self._count += 1
        self._waiting.append(f"call_{self._count}")
        return self._waiting[-1]

    def answered(self) -> str:
        return self._waiting.popleft() if self._waiting else f"call_{max(self._count, 1)}"


def _message(turn: Any, index: int, calls: _Calls) -> Row:
    sender = turn.get("from", turn.get("role")) if isinstance(turn, dict) else None
    role = _ROLES.get(sender.lower()) if isinstance(sender, str) else None
    text = next((turn[k] for k in ("value", "content", "text") if k in turn), None) if role else ""
    if role is None:
        raise InvalidInput(f"has turn {index} from {sender!r}; known are {', '.join(_ROLES)}")
    if not isinstance(text, str):
        raise InvalidInput(f"has no text in turn {index}")
    if role == "call":
        return {"role": "assistant", "content": None, "tool_calls": _tool_calls(text, index, calls)}
    message: Row = {"role": role, "content": text}
    if role == "tool":
        message["tool_call_id"] = calls.answered()
    if role == "assistant" and turn.get("weight") is not None:
        message["weight"] = turn["weight"]
    return message


def _tool_calls(text: str, index: int, calls: _Calls) -> list[Row]:
    try:
        called = json.loads(text)
        functions = called if isinstance(called, list) else [called]
        return [
            {
                "id": calls.new(),
                "type": "function",
                "function": {"name": function["name"], "arguments": _json(function["arguments"])},
            }
            for function in functions
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(
            f"has a call in turn {index} that is not JSON with name and arguments"
        ) from error


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tools(value: Any) -> list[Row]:
    """Return tools in OpenAI's shape, out of JSON text or a list, wrapped or bare."""
    if not value:
        return []
    try:
        tools = json.loads(value) if isinstance(value, str) else value
        return [t if "function" in t else {"type": "function", "function": t} for t in tools]
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput("has tools that are not a list in JSON") from error


def _turn(message: Any, index: int) -> Row:
    role = message.get("role") if isinstance(message, dict) else None
    known = {"role", "content", "weight"} | ({"tool_call_id"} if role == "tool" else set())
    calls = message.get("tool_calls") if role == "assistant" else None
    if calls and not message.get("content"):
        return {"from": "function_call", "value": _written_calls(calls, index)}
    more = set(message) - known if isinstance(message, dict) else {"something else"}
    if more:
        raise InvalidInput(f"has {min(more)!r} in message {index}, which ShareGPT cannot hold")
    if not isinstance(message.get("content"), str):
        raise InvalidInput(f"has no plain text in message {index}, and ShareGPT holds only text")
    sender = "observation" if role == "tool" else _WRITTEN.get(str(role))
    if sender is None:
        raise InvalidInput(f"has message {index} from {role!r}, whom ShareGPT does not know")
    turn: Row = {"from": sender, "value": message["content"]}
    if message.get("weight") is not None:
        turn["weight"] = message["weight"]
    return turn


def _written_calls(calls: Any, index: int) -> str:
    try:
        written = [
            {"name": c["function"]["name"], "arguments": _arguments(c["function"]["arguments"])}
            for c in calls
        ]
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"has a call in message {index} that is not complete") from error
    return json.dumps(written if len(written) > 1 else written[0], ensure_ascii=False)


def _arguments(text: str) -> Any:
    """Return arguments as an object, where that writes the same text again."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return parsed if not isinstance(parsed, str) and _json(parsed) == text else text
