"""Answers that are held to a shape: JSON of a schema, or calls of tools.

llguidance compiles the shape and says before each token which ones may follow.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from selftune.core.errors import InvalidInput
from selftune.models.hf.dialect import CallShape, ToolGrammar

WHITESPACE = r" |\n {0,40}"
"""Between the parts of JSON: nothing, a space, or a line and its indentation. With no limit, a
model that is not sure what comes next may write newlines for ever."""
_KEPT = 64
"""Compiled shapes that stay in memory; one takes tens of milliseconds to compile."""
_SHOWN = 300


class Shape:
    """One answer, held to a shape."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self) -> np.ndarray:
        """Return the bits of the tokens that may come next.

        Raises:
            InvalidInput: the shape is too intricate to go on with.

        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.int32)
        self._check()
        return bits

    def take(self, token: int) -> bool:
        """Take the token that was drawn; whether more may follow.

        Raises:
            InvalidInput: the shape is too intricate to go on with.

        """
        self._matcher.consume_token(token)
        self._check()
        return not self._matcher.is_stopped()

    def begins_with(self, token: int) -> bool:
        """Whether an answer of this shape may begin with the token."""
        return bool(self._matcher.validate_tokens([token]))

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = _first_line(self._matcher.get_error())
            raise InvalidInput(f"The answer cannot be held to its schema: {reason}")


class Shapes:
    """Compiles shapes for one tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary: int, stop_ids: Sequence[int]) -> None:
        size = max(vocabulary, len(tokenizer))
        self._tokenizer: LLTokenizer = from_tokenizer(tokenizer, size, list(stop_ids))
        self._added = {
            token.content: number for number, token in tokenizer.added_tokens_decoder.items()
        }
        self._kept: OrderedDict[str, LLMatcher] = OrderedDict()

    def token_of(self, text: str) -> int | None:
        """Return the added token that is written so, such as `<tool_call>`."""
        return self._added.get(text)

    def answer(self, response_format: Mapping[str, Any] | None, before: str = "") -> Shape | None:
        """Return the shape that OpenAI's `response_format` asks for; None for text.

        `before` is what the model's chat template writes before what is said.

        Raises:
            InvalidInput: its schema cannot be enforced.

        """
        found = _schema(response_format)
        if found is None:
            return None
        schema, name, strict = found
        grammar = _json_grammar(_held(schema, strict=strict), self._literal(before))
        return self._compiled(grammar, f"Invalid schema for response_format {name!r}")

    def calls(
        self, grammar: ToolGrammar, strict: frozenset[str], otherwise: Mapping[str, Any] | None
    ) -> Shape:
        """Return the shape of an answer that calls tools.

        `strict` names the functions whose schema must be enforced whole; of others, keywords that
        cannot be enforced are left out. With `otherwise`, a `response_format`, the answer may be of
        that shape instead.

        Raises:
            InvalidInput: a schema cannot be enforced.

        """
        for call in grammar.calls:  # one by one, so that the refusal names the function
            alone = _json_grammar(_arguments(call, strict))
            self._compiled(alone, f"Invalid schema for function {call.name!r}")
        text = _calls_grammar(grammar, strict, _schema(otherwise), self._literal)
        return self._compiled(text, "Invalid tools")

    def _literal(self, text: str) -> str:
        """Write a text for a grammar, its added tokens as tokens."""
        if not text:
            return ""
        marks = "|".join(re.escape(mark) for mark in sorted(self._added, key=len, reverse=True))
        parts = re.split(f"({marks})", text) if marks else [text]
        return " ".join(
            f"<[{self._added[part]}]>" if part in self._added else json.dumps(part)
            for part in parts
            if part
        )

    def _compiled(self, grammar: str, refusal: str) -> Shape:
        if grammar not in self._kept:
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise InvalidInput(
                    f"{refusal}: {_first_line(matcher.get_error())}",
                    code="invalid_schema",
                    param="response_format" if "response_format" in refusal else "tools",
                )
            self._kept[grammar] = matcher
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(grammar)
        return Shape(self._kept[grammar].deep_copy())


def _schema(
    response_format: Mapping[str, Any] | None,
) -> tuple[Mapping[str, Any], str, bool] | None:
    """Return the schema that is asked for, its name, and whether every keyword must hold."""
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}, "json_object", True
    told = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(told, Mapping):
        raise InvalidInput(
            f"response_format of type {kind!r} is not served; it is text, json_object or "
            "json_schema.",
            param="response_format",
        )
    return told.get("schema") or {}, str(told.get("name", "")), bool(told.get("strict"))


def _held(schema: Any, *, strict: bool) -> dict[str, Any]:
    """Return a schema with our own instructions for the compiler, and none of the caller's."""
    options = {"whitespace_pattern": WHITESPACE, "lenient": not strict}
    return {**(schema if isinstance(schema, Mapping) else {}), "x-guidance": options}


def _arguments(call: CallShape, strict: frozenset[str]) -> dict[str, Any]:
    """Return the schema of a function's arguments: an object, and an empty one where none are told.

    "Omitting parameters defines a function with an empty parameter list", says OpenAI.
    """
    told = dict(call.arguments)
    if not any(told.get(word) for word in ("properties", "$ref", "anyOf", "allOf", "oneOf")):
        told.setdefault("additionalProperties", False)
    return _held({**told, "type": "object"}, strict=call.name in strict)


def _json_grammar(schema: Mapping[str, Any], before: str = "") -> str:
    return f"start: {before} content\ncontent: %json {json.dumps(schema)}\n"


def _calls_grammar(
    grammar: ToolGrammar,
    strict: frozenset[str],
    otherwise: tuple[Mapping[str, Any], str, bool] | None,
    literal: Callable[[str], str],
) -> str:
    """Write what an answer that calls tools looks like, in llguidance's form of Lark's language."""
    rules = []
    for number, call in enumerate(grammar.calls):
        schema = json.dumps(_arguments(call, strict))
        before, after = literal(call.before), literal(call.after)
        rules.append(f"call_{number}: {before} %json {schema} {after}")
    more = f"({literal(grammar.between)} call)*" if grammar.many else ""
    calls = f"calls: {literal(grammar.begin)} call {more} {literal(grammar.end)}"
    choices = "call: " + " | ".join(f"call_{number}" for number in range(len(rules)))
    start = "start: calls"
    if otherwise is not None:
        answer = json.dumps(_held(otherwise[0], strict=otherwise[2]))
        rules.append(f"content: %json {answer}")
        start = "start: calls | content"
    return "\n".join([start, calls, choices, *rules]) + "\n"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:_SHOWN] if text.strip() else "no reason given"
