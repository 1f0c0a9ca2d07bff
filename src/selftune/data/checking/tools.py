"""Tools, the calls that assistants make, and the results that answer them."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Fault = tuple[str, int | None, str]
"""A rule, the message (counted from 1), and what is wrong."""


def is_name(value: Any) -> bool:
    """Return whether a value may name a function or a speaker."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def tool_faults(row: dict[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the tools that a row offers."""
    tools, functions = row.get("tools"), row.get("functions")
    if functions is not None:
        yield "functions-deprecated", None, "uses functions, the older form of tools"
        yield from _list_faults(functions, "functions")
    if tools is not None:
        inner = tools
        if isinstance(tools, list):
            inner = [_function_of(tool) for tool in tools]
        yield from _list_faults(inner, "tools")
    if tools is not None and functions is not None:
        yield "functions-and-tools", None, "has both tools and functions"
    yield from _parallel_faults(row)


def call_faults(row: dict[str, Any], messages: list[dict[str, Any]]) -> Iterator[Fault]:
    """Yield what is wrong with calls and results; the messages have their roles."""
    pending: dict[str, int] = {}
    known: set[str] = set()
    offered = offered_names(row)
    for index, message in enumerate(messages, start=1):
        if message["role"] == "tool":
            yield from _result_faults(index, message, pending)
            continue
        yield from _unanswered(pending)
        pending = {}
        calls = message.get("tool_calls")
        if calls is None:
            continue
        faults = list(_calls_faults(message["role"], calls))
        yield from ((rule, index, words) for rule, words in faults)
        if faults:
            continue
        for call in calls:
            if call["id"] in known:
                yield "tool-call-repeated", index, f"has the call id {call['id']!r} again"
            known.add(call["id"])
            pending[call["id"]] = index
            yield from _call_faults(index, call["function"], offered)
        if len(calls) > 1 and row.get("parallel_tool_calls") is False:
            words = f"has {len(calls)} calls, and parallel_tool_calls is false"
            yield "parallel-tool-calls-broken", index, words
    if messages and messages[-1]["role"] == "tool":
        yield from _unanswered(pending)  # calls of the very last message need no results


def offered_names(row: dict[str, Any]) -> set[str] | None:
    """Return the names of a row's functions; None where it offers none."""
    tools = row.get("tools")
    offered = row.get("functions") if tools is None else tools
    if not isinstance(offered, list):
        return None
    functions = offered if tools is None else [_function_of(tool) for tool in offered]
    return {str(each.get("name")) for each in functions if isinstance(each, dict)}


def is_json_object(text: str) -> bool:
    """Return whether a text is one JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False


def _id_of(message: dict[str, Any]) -> str:
    value = message.get("tool_call_id")
    return value if isinstance(value, str) else ""


def _result_faults(index: int, message: dict[str, Any], pending: dict[str, int]) -> Iterator[Fault]:
    """Yield what is wrong with a result; its call waits no longer."""
    if pending.pop(_id_of(message), None) is None:
        yield "tool-result-unmatched", index, "answers no call that stands before it"
    if message.get("tool_calls") is not None:
        yield "tool-calls-not-assistant", index, "has tool calls, from the tool"


def _unanswered(pending: dict[str, int]) -> Iterator[Fault]:
    for identifier, index in pending.items():
        yield "tool-call-unanswered", index, f"has a call {identifier!r} that no result answers"


def _function_of(tool: Any) -> Any:
    is_function = isinstance(tool, dict) and tool.get("type") == "function"
    return tool.get("function") if is_function else None


def _list_faults(functions: Any, key: str) -> Iterator[Fault]:
    if not isinstance(functions, list) or not functions:
        yield "tools-invalid", None, f"has {key} that are not a list of functions"
        return
    if len(functions) > MAX_TOOLS:
        yield "too-many-tools", None, f"has {len(functions)} {key}; the limit is {MAX_TOOLS}"
    seen: set[str] = set()
    for number, function in enumerate(functions, start=1):
        words = _definition_fault(function)
        if words is not None:
            yield "tools-invalid", None, f"has {key} of which number {number} {words}"
            continue
        if function["name"] in seen:
            yield "tool-repeated", None, f"has two {key} named {function['name']!r}"
        seen.add(function["name"])


def _definition_fault(function: Any) -> str | None:
    if not isinstance(function, dict):
        return "is not a function"
    if not is_name(function.get("name")):
        return "has no name of 1 to 64 letters, digits, hyphens or underscores"
    if not isinstance(function.get("parameters", {}), dict):
        return "has parameters that are not a JSON schema"
    if not isinstance(function.get("description") or "", str):
        return "has a description that is not text"
    return None


def _parallel_faults(row: dict[str, Any]) -> Iterator[Fault]:
    if "parallel_tool_calls" not in row:
        return
    value = row["parallel_tool_calls"]
    if not isinstance(value, bool):
        yield (
            "parallel-tool-calls-invalid",
            None,
            "has parallel_tool_calls that are no true or false",
        )
    elif row.get("tools") is None:
        yield "parallel-tool-calls-alone", None, "has parallel_tool_calls and no tools"


def _calls_faults(role: str, calls: Any) -> Iterator[tuple[str, str]]:
    if role != "assistant":
        yield "tool-calls-not-assistant", f"has tool calls, from the {role}"
    elif not isinstance(calls, list) or not calls:
        yield "tool-calls-invalid", "has tool_calls that are not a list of calls"
    else:
        for number, call in enumerate(calls, start=1):
            words = _shape_fault(call)
            if words is not None:
                yield "tool-calls-invalid", f"has a call {number} that {words}"


def _shape_fault(call: Any) -> str | None:
    if not isinstance(call, dict) or call.get("type") != "function":
        return "is not of type function"
    if not isinstance(call.get("id"), str) or not call["id"]:
        return "has no id"
    function = call.get("function")
    if not isinstance(function, dict) or not is_name(function.get("name")):
        return "names no function"
    if not isinstance(function.get("arguments"), str):
        return "has no arguments as text"
    return None


def _call_faults(index: int, function: dict[str, Any], offered: set[str] | None) -> Iterator[Fault]:
    if function["name"] not in (offered or ()):
        yield (
            "tool-call-unknown",
            index,
            f"calls {function['name']!r}, which the row does not offer",
        )
    if not is_json_object(function["arguments"]):
        words = f"calls {function['name']!r} with arguments that are not a JSON object"
        yield "arguments-not-json", index, words
