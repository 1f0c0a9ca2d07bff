"""A sampler for tests: answers what the fake engine learned by heart, else says so.

It can do all that a model on this machine may be asked, the same at every run: it takes prompts
while it answers others, a token at each step; calls a tool that it must call, or that the question
names; and fills in the first value that a JSON schema allows.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.records import Record, Usage
from selftune.models.first_value import first_value
from selftune.models.messages import content_text
from selftune.models.sampler import (
    Alternative,
    Choice,
    Completion,
    Finish,
    Piece,
    Prompt,
    Token,
    ToolCall,
)
from selftune.models.tokens import TOKENS_PER_REPLY, count_messages, decode, encode, token_bytes

UNKNOWN = "I was not trained on this."
CONTEXT = 100_000
"""Tokens; as `catalog.toml` says."""
_WIDTH = 8
_Tell = Callable[[Piece | SelftuneError], None]


class Params(Record):
    """Where the model is; None is the untrained base."""

    folder: Path | None = None
    cache: Path | None = None
    threads: int = 0


def build(params: Params) -> "FakeSampler":
    """Load the model."""
    rows: list[Any] = []
    if params.folder is not None:
        rows = json.loads((params.folder / "model.json").read_text(encoding="utf-8"))["rows"]
    return FakeSampler({_question(row[:-1]): content_text(row[-1]) for row in rows})


class WholeSampler:
    """Looks the last user message up, and answers whole."""

    def __init__(self, answers: dict[str, str]) -> None:
        self._answers = answers

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order."""
        return [self._complete(prompt) for prompt in prompts]

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """Answer one prompt token by token."""
        yield from _pieces(self._complete(prompt))

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Return a unit vector that depends on nothing but the text."""
        seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
        vectors = np.stack([np.random.default_rng(seed).normal(size=_WIDTH) for seed in seeds])
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return units.astype(np.float32), sum(len(encode(text)) for text in texts)

    def _complete(self, prompt: Prompt) -> Completion:
        read = count_messages(prompt.messages) + TOKENS_PER_REPLY
        if prompt.text is not None:
            read = len(encode(prompt.text))
        if read > CONTEXT:
            raise InvalidInput(
                f"This model's maximum context length is {CONTEXT} tokens. However, your messages "
                f"resulted in {read} tokens. Please reduce the length of the messages.",
                code="context_length_exceeded",
                param="messages",
            )
        choices = tuple(self._choice(prompt, index) for index in range(prompt.sampling.n))
        said = sum(len(choice.tokens) + len(choice.tool_calls) for choice in choices)
        return Completion(choices=choices, usage=Usage(prompt_tokens=read, completion_tokens=said))

    def _choice(self, prompt: Prompt, index: int) -> Choice:
        calls = tuple(
            ToolCall(choice=index, name=each["name"], arguments=_arguments(each))
            for each in _called(prompt)
        )
        if calls:
            return Choice(text="", tokens=(), finish_reason="tool_calls", tool_calls=calls)
        ids, limit = encode(self._answer(prompt)), prompt.sampling.max_tokens
        reason = "stop" if limit is None or len(ids) <= limit else "length"
        tokens = tuple(_token(each, index, prompt.sampling.top_logprobs) for each in ids[:limit])
        return Choice(text=decode(ids[:limit]), tokens=tokens, finish_reason=reason)

    def _answer(self, prompt: Prompt) -> str:
        form = prompt.response_format or {"type": "text"}
        if form["type"] == "json_object":
            return "{}"
        if form["type"] == "json_schema":
            return json.dumps(first_value(form["json_schema"]["schema"]))
        asked = _question(prompt.messages) if prompt.text is None else prompt.text
        return self._answers.get(asked, UNKNOWN)


class FakeSampler(WholeSampler):
    """Answers as `WholeSampler` does, one piece of every answer at a step."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(answers)
        self._numbers = count()
        self._under_way: dict[int, tuple[Iterator[Piece], _Tell]] = {}

    def start(self, prompt: Prompt, tell: _Tell) -> int:
        """Take a prompt; return its number.

        Raises:
            InvalidInput: it is too long.

        """
        number = next(self._numbers)
        self._under_way[number] = _pieces(self._complete(prompt)), tell
        return number

    def drop(self, number: int) -> None:
        """Forget a prompt."""
        self._under_way.pop(number, None)

    def step(self) -> bool:
        """Tell the next piece of every answer."""
        for number, (pieces, tell) in list(self._under_way.items()):
            piece = next(pieces)
            if isinstance(piece, Usage):
                del self._under_way[number]
            tell(piece)
        return bool(self._under_way)


def _pieces(completion: Completion) -> Iterator[Piece]:
    for index, choice in enumerate(completion.choices):
        yield from choice.tokens
        yield from choice.tool_calls
        yield Finish(choice=index, reason=choice.finish_reason)
    yield completion.usage


def _called(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the functions to call: what must be called, or what the last message names."""
    functions = [tool["function"] for tool in prompt.tools]
    chosen = prompt.tool_choice
    if isinstance(chosen, dict):
        return [each for each in functions if each["name"] == chosen["function"]["name"]]
    last = prompt.messages[-1] if prompt.messages else {"role": "user"}
    asked = content_text(last) if last["role"] == "user" else ""
    named = [each for each in functions if each["name"] in asked.split()]
    if chosen == "none":
        named = []
    elif chosen == "required" and not named:
        named = functions[:1]
    return named if prompt.parallel_tool_calls else named[:1]


def _arguments(function: dict[str, Any]) -> str:
    return json.dumps(first_value(function.get("parameters") or {"type": "object"}))


def _token(token: int, choice: int, top: int) -> Token:
    raw = token_bytes(token)
    text = raw.decode("utf-8", errors="replace")
    alternatives = (Alternative(token=text, bytes=tuple(raw), logprob=0.0),) if top else ()
    return Token(
        choice=choice, text=text, id=token, bytes=tuple(raw), logprob=0.0, top=alternatives
    )


def _question(messages: Sequence[dict[str, Any]]) -> str:
    asked = [content_text(message) for message in messages if message["role"] == "user"]
    return asked[-1] if asked else ""
