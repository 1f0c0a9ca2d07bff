"""What a model answered, read: what it says, what it thinks, and the tools it calls."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.models.hf.dialect import Reading, Tool, ToolGrammar, function_names
from selftune.models.hf.proof import Proven

_OPEN, _CLOSE = "<think>", "</think>"
_THOUGHT = re.compile(rf"\s*{_OPEN}.*?(?:{_CLOSE}\s*|\Z)", re.DOTALL)


class Answers:
    """Reads the answers of one model, by what its template was seen to write."""

    def __init__(self, proven: Proven) -> None:
        self._frame = proven.frame
        self._family = proven.family

    def check(self, tools: Sequence[Tool]) -> frozenset[str]:
        """Return the names of tools that may be called.

        Raises:
            InvalidInput: the model knows no tools, or one of them is no function.

        """
        if tools and self._family is None:
            raise InvalidInput(
                "This model's chat template knows no tools; leave 'tools' out, or ask another model.",
                code="unsupported_parameter",
                param="tools",
            )
        return function_names(tools)

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and the tools it calls."""
        told = _THOUGHT.sub("", text, count=1) if _THOUGHT.match(text) else text
        reading = self._family.read(told, tools) if self._family else Reading(told, ())
        content = reading.content.removeprefix(self._frame.before)
        return Reading(content.removesuffix(self._frame.after), reading.calls)

    def said_so_far(self, text: str, tools: Sequence[Tool]) -> str:
        """Return the beginning of an unfinished answer's content that no further token changes."""
        begun = text.lstrip()
        if _OPEN.startswith(begun) or (begun.startswith(_OPEN) and _CLOSE not in begun):
            return ""
        told = _THOUGHT.sub("", text, count=1) if _THOUGHT.match(text) else text
        before = self._frame.before
        if before and before.startswith(told):
            return ""
        told = told.removeprefix(before)
        marks = self._family.marks if self._family and tools else ()
        if self._family and self._family.alone and not _may_begin(told, marks):
            return told
        starts = [at for mark in marks if (at := _begins(told, mark)) is not None]
        settled = told[: min(starts, default=len(told))]
        if marks:  # a call that follows takes the spaces before it away
            settled = settled.rstrip()
        return settled

    def grammar(
        self, tools: Sequence[Tool], tool_choice: str | Mapping[str, Any], parallel: bool
    ) -> ToolGrammar | None:
        """Return what an answer must look like by `tool_choice`; None where it may be free text."""
        names = self.check(tools)
        allowed = _allowed(tool_choice, names)
        if allowed is None:
            return None
        chosen = [tool for tool in tools if tool["function"]["name"] in allowed]
        grammar = self.call_grammar(chosen, parallel)
        if grammar is None:
            raise InvalidInput(
                "This model writes calls in a form that answers cannot be held to; leave "
                "tool_choice at 'auto'.",
                code="unsupported_parameter",
                param="tool_choice",
            )
        return grammar

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> ToolGrammar | None:
        """Return what calls look like; None where answers cannot be held to them."""
        self.check(tools)
        return self._family.grammar(tools, parallel) if self._family else None

    def is_call(
        self,
        written: str,
        message: Mapping[str, Any],
        tools: Sequence[Tool],
        bare: Callable[[str], str],
    ) -> bool:
        """Whether a rendered answer is the calls of a message, and what is said beside them."""
        if self._family is None:
            return False
        functions = [call["function"] for call in message["tool_calls"]]
        wanted = [(bare(each["name"]), _plain(each["arguments"], bare)) for each in functions]
        known = [*tools, *({"type": "function", "function": each} for each in functions)]
        reading = self._family.read(bare(written), known)
        found = [(call.name, json.loads(call.arguments)) for call in reading.calls]
        return found == wanted and reading.content.strip() == bare(message["content"]).strip()


def _may_begin(text: str, marks: Sequence[str]) -> bool:
    """Whether a text begins with one of these marks, or may yet."""
    begun = text.lstrip()
    return any(begun.startswith(mark) or mark.startswith(begun) for mark in marks)


def _begins(text: str, mark: str) -> int | None:
    """Return where a mark stands in a text, or begins to stand at its end."""
    found = text.find(mark)
    if found >= 0:
        return found
    ends = (length for length in range(len(mark) - 1, 0, -1) if text.endswith(mark[:length]))
    length = next(ends, None)
    return None if length is None else len(text) - length


def _allowed(choice: str | Mapping[str, Any], names: frozenset[str]) -> frozenset[str] | None:
    """Return the functions one of which must be called; None where none must."""
    if isinstance(choice, str):
        if choice in ("auto", "none"):
            return None
        if choice == "required" and names:
            return names
        raise InvalidInput(
            f"tool_choice {choice!r} needs 'tools', and is one of none, auto, required.",
            param="tool_choice",
        )
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools", choice)
        chosen = function_names(inner.get("tools") or ())
        required = inner.get("mode") == "required"
    else:
        chosen, required = function_names([choice]), True
    unknown = sorted(chosen - names)
    if unknown or not chosen:
        raise InvalidInput(
            f"tool_choice names {', '.join(unknown) or 'no function'!r}, which is not in 'tools'.",
            param="tool_choice",
        )
    return chosen if required else None


def _plain(value: Any, bare: Callable[[str], str]) -> Any:
    """Return arguments as they were before they were guarded or written as text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.loads(bare(text))
