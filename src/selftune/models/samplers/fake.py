"""A sampler for tests: answers what the fake engine learned by heart, else says so."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selftune.core.records import Record, Usage
from selftune.models.sampler import Alternative, Choice, Completion, Finish, Prompt, Token
from selftune.models.tokens import TOKENS_PER_REPLY, count_messages, decode, encode, token_bytes

UNKNOWN = "I was not trained on this."
_WIDTH = 8


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
    return FakeSampler({_question(row[:-1]): row[-1]["content"] for row in rows})


class FakeSampler:
    """Looks the last user message up."""

    def __init__(self, answers: dict[str, str]) -> None:
        self._answers = answers

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order."""
        return [self._complete(prompt) for prompt in prompts]

    def stream(self, prompt: Prompt) -> Iterator[Token | Finish | Usage]:
        """Answer one prompt token by token."""
        completion = self._complete(prompt)
        for index, choice in enumerate(completion.choices):
            yield from choice.tokens
            yield Finish(choice=index, reason=choice.finish_reason)
        yield completion.usage

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Return a unit vector that depends on nothing but the text."""
        seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
        vectors = np.stack([np.random.default_rng(seed).normal(size=_WIDTH) for seed in seeds])
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return units.astype(np.float32), sum(len(encode(text)) for text in texts)

    def _complete(self, prompt: Prompt) -> Completion:
        sampling = prompt.sampling
        ids = encode(self._answers.get(_question(prompt.messages), UNKNOWN))
        limit = sampling.max_tokens
        reason = "stop" if limit is None or len(ids) <= limit else "length"
        ids = ids[:limit]
        choices = tuple(
            Choice(
                text=decode(ids),
                tokens=tuple(_token(token, index, sampling.top_logprobs) for token in ids),
                finish_reason=reason,
            )
            for index in range(sampling.n)
        )
        usage = Usage(
            prompt_tokens=count_messages(prompt.messages) + TOKENS_PER_REPLY,
            completion_tokens=sum(len(choice.tokens) for choice in choices),
        )
        return Completion(choices=choices, usage=usage)


def _token(token: int, choice: int, top: int) -> Token:
    raw = token_bytes(token)
    text = raw.decode("utf-8", errors="replace")
    alternatives = (Alternative(token=text, bytes=tuple(raw), logprob=0.0),) if top else ()
    return Token(
        choice=choice, text=text, id=token, bytes=tuple(raw), logprob=0.0, top=alternatives
    )


def _question(messages: Sequence[dict[str, Any]]) -> str:
    asked = [message["content"] for message in messages if message["role"] == "user"]
    return str(asked[-1]) if asked else ""
