"""Calls as `[TOOL_CALLS]name[ARGS]{…}`, as Mistral's models since 2025 write them."""

import re
from collections.abc import Sequence

from selftune.models.hf.dialect import (
    Family,
    Reading,
    Tool,
    ToolGrammar,
    call_of,
    function_names,
    shapes,
    values_in,
)
from selftune.models.sampler import ToolCall

_ONE = re.compile(r"\[TOOL_CALLS\]\s*([\w.-]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*(?=\{)")


class MistralNamed:
    """See the module."""

    name = "mistral_named"
    marks = ("[TOOL_CALLS]",)
    alone = False

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and which of these functions it calls."""
        names = function_names(tools)
        content, calls, start = "", list[ToolCall](), 0
        while found := _ONE.search(text, start):
            arguments, end = next(values_in(text, found.end()), (None, 0))
            call = call_of({"name": found[1], "arguments": arguments}, names)
            if call is None:
                content, start = content + text[start : found.end()], found.end()
                continue
            content, start = content + text[start : found.start()], end
            calls.append(call)
        content += text[start:]
        return Reading(content.strip(), tuple(calls)) if calls else Reading(text, ())

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar:
        """Return what an answer looks like that calls one of these functions."""
        return ToolGrammar(
            begin="",
            calls=shapes(tools, lambda name: f"[TOOL_CALLS]{name}[ARGS]", ""),
            between="",
            end="",
            many=many,
        )


def build() -> Family:
    """Return the family."""
    return MistralNamed()
