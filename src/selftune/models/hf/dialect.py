"""What a way of writing tool calls must offer, and the way that most models share: JSON in marks."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.models.sampler import ToolCall

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Tool = Mapping[str, Any]
"""One of OpenAI's `tools`: `{"type": "function", "function": {…}}`."""


class CallShape(Record):
    """How a call of one function is written: `before`, its arguments as JSON, `after`."""

    name: str
    before: str
    arguments: dict[str, Any]
    """JSON schema of the arguments."""
    after: str


class ToolGrammar(Record):
    """What an answer looks like that calls tools: `begin`, calls with `between` them, `end`.

    `begin`, `end`, `before` and `after` may hold the text of tokens of the tokenizer's own, special
    ones too, such as `<tool_call>` or `[TOOL_CALLS]`; they are to be matched as those tokens.
    After `end` comes a stop token.
    """

    begin: str
    calls: tuple[CallShape, ...]
    between: str
    end: str
    many: bool
    """Whether there may be more than one call."""


class Reading(NamedTuple):
    """An answer, read."""

    content: str
    calls: tuple[ToolCall, ...]


class Family(Protocol):
    """A way of writing tool calls."""

    @property
    def name(self) -> str:
        """Name of its module."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """From the first of these on, an unfinished answer may be a call."""
        ...

    @property
    def alone(self) -> bool:
        """Whether a call is a whole answer, so that no answer which begins otherwise has one."""
        ...

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and which of these functions it calls.

        What is no whole call of a known function stays in the content.
        """
        ...

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar | None:
        """Return what an answer looks like that calls one of these functions.

        None where arguments are not JSON, so that no answer can be held to a call.
        """
        ...


class JsonCalls(Record):
    """Calls as `{"name": …, "arguments": {…}}`, each between marks or all in one list."""

    name: str
    marks: tuple[str, ...]
    pattern: str
    """Finds calls in a text; its first group is the JSON of one call, or of a list of them."""
    begin: str = ""
    before: str = '{"name": NAME, "arguments": '
    after: str = "}"
    between: str = "\n"
    end: str = ""
    many: bool = True
    alone: bool = False

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and which of these functions it calls."""
        names, calls = function_names(tools), list[ToolCall]()

        def taken(found: re.Match[str]) -> str:
            read = calls_in_json(found[1], names)
            calls.extend(read)
            return "" if read else found[0]

        content = re.sub(self.pattern, taken, text, flags=re.DOTALL)
        return Reading(content.strip() if calls else text, tuple(calls))

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar:
        """Return what an answer looks like that calls one of these functions."""
        return ToolGrammar(
            begin=self.begin,
            calls=shapes(tools, lambda name: self.before.replace("NAME", dumped(name)), self.after),
            between=self.between,
            end=self.end,
            many=many and self.many,
        )


def shapes(
    tools: Sequence[Tool], before: Callable[[str], str], after: str
) -> tuple[CallShape, ...]:
    """Return how a call of each of these functions is written."""
    functions = [tool["function"] for tool in tools]
    return tuple(
        CallShape(
            name=function["name"],
            before=before(function["name"]),
            arguments=function.get("parameters") or {"type": "object"},
            after=after,
        )
        for function in functions
    )


def calls_in_json(text: str, names: frozenset[str]) -> list[ToolCall]:
    """Return the calls that a JSON text is, alone or in a list; none where one is not whole."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = [call_of(one, names) for one in (value if isinstance(value, list) else [value])]
    calls = [call for call in found if call is not None]
    return calls if len(calls) == len(found) else []


def call_of(value: Any, names: frozenset[str]) -> ToolCall | None:
    """Return the call that a JSON value is, where it calls one of these functions."""
    if not isinstance(value, dict) or value.get("name") not in names:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(arguments, dict):
        return None
    return ToolCall(name=value["name"], arguments=dumped(arguments))


def values_in(text: str, start: int = 0) -> Iterator[tuple[Any, int]]:
    """Yield JSON values that stand one after the other, each with where it ends."""
    decoder = json.JSONDecoder()
    while start < len(text):
        try:
            value, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        yield value, start
        start += len(text[start:]) - len(text[start:].lstrip("; \n"))


def dumped(value: Any) -> str:
    """Return JSON as chat templates write it."""
    return json.dumps(value, ensure_ascii=False)


def function_names(tools: Sequence[Tool]) -> frozenset[str]:
    """Return the names of functions that may be called.

    Raises:
        InvalidInput: a tool is no function.

    """
    names = set()
    for tool in tools:
        function = tool.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                f"The tool {str(dict(tool))[:100]!r} is no function with a name of up to 64 letters, "
                'digits, _, - and .: {"type": "function", "function": {"name": …}}.',
                param="tools",
            )
        names.add(name)
    return frozenset(names)
