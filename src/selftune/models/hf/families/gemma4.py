"""Calls as `call:name{key:<|"|>text<|"|>,other:3}` between marks, as Gemma 4 writes them."""

import json
import re
from collections.abc import Sequence
from typing import Any

from selftune.models.hf.dialect import Family, Reading, Tool, ToolGrammar, call_of, function_names
from selftune.models.sampler import ToolCall

_CALL = re.compile(r"<\|tool_call>call:([\w.-]+)(\{.*?\})<tool_call\|>", re.DOTALL)
_TEXT = re.compile(r'<\|"\|>(.*?)<\|"\|>', re.DOTALL)
_KEY = re.compile(r"([{,]\s*)([^\s{}\[\],:\"]+)\s*:")


class Gemma4:
    """See the module."""

    name = "gemma4"
    marks = ("<|tool_call>",)
    alone = False

    def read(self, text: str, tools: Sequence[Tool]) -> Reading:
        """Return what an answer says and which of these functions it calls."""
        names, calls = function_names(tools), list[ToolCall]()

        def taken(found: re.Match[str]) -> str:
            call = call_of({"name": found[1], "arguments": _value(found[2])}, names)
            calls.extend([call] if call is not None else [])
            return found[0] if call is None else ""

        content = _CALL.sub(taken, text)
        return Reading(content.strip() if calls else text, tuple(calls))

    def grammar(self, tools: Sequence[Tool], many: bool) -> ToolGrammar | None:
        """Return nothing: what is written so is no JSON, which answers are held to."""
        return None


def _value(written: str) -> Any:
    """Return the value that was written with bare keys and marked texts; None if it is broken."""
    texts = [json.dumps(text) for text in _TEXT.findall(written)]
    # Between the marks nothing is syntax, so that the texts are put back where keys are quoted.
    outside = _TEXT.split(written)[::2]
    quoted = _KEY.sub(r'\1"\2":', "\0".join(outside)).split("\0")
    if len(quoted) != len(texts) + 1:
        return None
    whole = "".join(part for pair in zip(quoted, [*texts, ""], strict=True) for part in pair)
    try:
        return json.loads(whole)
    except (ValueError, RecursionError):
        return None


def build() -> Family:
    """Return the family."""
    return Gemma4()
