"""A call as the whole answer, `{"name": …, "parameters": {…}}`, as Llama 3 writes it."""

from collections.abc import Sequence

from selftune.models.hf.dialect import (
    Family,
    Reading,
    Tool,
    ToolGrammar,
    call_of,
    dumped,
    function_names,
    shapes,
    values_in,
)
from selftune.models.sampler import ToolCall

_TAG = "<|python_tag|>"


class Llama3:
    """See the module."""

    name = "llama3"
    marks = (_TAG, "{")
    alone = True

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and which of these functions it calls."""
        told = text.strip().removeprefix(_TAG).strip()
        end, calls, names = 0, list[ToolCall](), function_names(tools)
        for value, end in values_in(told):  # noqa: B007
            call = call_of(value, names)
            if call is None:
                return Reading(text, ())
            calls.append(call)
        whole = bool(calls) and not told[end:].strip("; \n")
        return Reading("", tuple(calls)) if whole else Reading(text, ())

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar:
        """Return what an answer looks like that calls one of these functions; only one at a time."""
        return ToolGrammar(
            begin="",
            calls=shapes(tools, lambda name: f'{{"name": {dumped(name)}, "parameters": ', "}"),
            between="",
            end="",
            many=False,
        )


def build() -> Family:
    """Return the family."""
    return Llama3()
