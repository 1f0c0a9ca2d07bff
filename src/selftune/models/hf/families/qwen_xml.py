"""Calls as `<function=name><parameter=key>value</parameter></function>` between marks.

Qwen3-Coder, Qwen since 3.5 and Nemotron 3 write them so. Texts stand bare and all else is JSON, so
that only a function's schema tells the text `3` from the number.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from selftune.models.hf.dialect import Family, Reading, Tool, ToolGrammar, dumped
from selftune.models.sampler import ToolCall

_CALL = re.compile(
    r"<tool_call>\s*<function=([^>\s]+)>(.*?)</function>\s*(?:</tool_call>|\Z)", re.DOTALL
)
_PARAMETER = re.compile(r"\s*<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>\s*", re.DOTALL)


class QwenXml:
    """See the module."""

    name = "qwen_xml"
    marks = ("<tool_call>",)
    alone = False

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and which of these functions it calls."""
        functions = {tool["function"]["name"]: tool["function"] for tool in reversed(tools)}
        calls = list[ToolCall]()

        def taken(found: re.Match[str]) -> str:
            function = functions.get(found[1])
            if function is None or _PARAMETER.sub("", found[2]).strip():
                return found[0]
            kinds = (function.get("parameters") or {}).get("properties") or {}
            given = {name: _value(said, kinds.get(name)) for name, said in _pairs(found[2])}
            calls.append(ToolCall(name=found[1], arguments=dumped(given)))
            return ""

        content = _CALL.sub(taken, text)
        return Reading(content.strip() if calls else text, tuple(calls))

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar | None:
        """Return nothing: what is written so is no JSON, which answers are held to."""
        return None


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in _PARAMETER.finditer(text)]


def _value(said: str, schema: Any) -> Any:
    """Return a value as its schema wants it; a text where that says so or it is no JSON."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "string":
        return said
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return said


def build() -> Family:
    """Return the family."""
    return QwenXml()
