"""Channels, as gpt-oss writes them: what it says, what it thinks, and whom it calls."""

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

_PART = re.compile(
    r"(?:<\|start\|>assistant)?(?P<to>\s*to=functions\.[\w.-]+)?"
    r"<\|channel\|>(?P<channel>\w+)(?P<also>\s*to=functions\.[\w.-]+)?"
    r"[^<]*(?:<\|constrain\|>\w+)?<\|message\|>(?P<said>.*?)"
    r"(?:<\|(?:end|call|return)\|>|\Z)",
    re.DOTALL,
)


class Harmony:
    """See the module."""

    name = "harmony"
    marks = ("<|channel|>", " to=")
    alone = False

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what is said in the last channel for the user, and which functions are called."""
        said, calls, names = list[str](), list[ToolCall](), function_names(tools)
        parts = list(_PART.finditer(text))
        for part in parts:
            function = (part["to"] or part["also"] or "").partition("functions.")[2]
            call = _called(function, part["said"], names) if function else None
            if call is not None:
                calls.append(call)
            elif function or part["channel"] != "analysis":
                said.append(part["said"])
        return Reading("\n".join(said), tuple(calls)) if parts else Reading(text, ())

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar:
        """Return what an answer looks like that calls one of these functions; only one at a time."""

        def before(name: str) -> str:
            return f" to=functions.{name}<|channel|>commentary json<|message|>"

        return ToolGrammar(
            begin="", calls=shapes(tools, before, ""), between="", end="", many=False
        )


def _called(function: str, arguments: str, names: frozenset[str]) -> ToolCall | None:
    value, end = next(values_in(arguments.strip()), (None, 0))
    whole = end == len(arguments.strip())
    return call_of({"name": function, "arguments": value}, names) if whole else None


def build() -> Family:
    """Return the family."""
    return Harmony()
