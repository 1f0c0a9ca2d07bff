"""The embedded model as a sampler: one encoder call for a whole batch, no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Usage
from selftune.models.builtin.generate import generate
from selftune.models.builtin.model import BaseModel, Embedded, load_tuned
from selftune.models.sampler import Completion, Finish, Prompt, Token
from selftune.models.tokens import TOKENS_PER_REPLY, count_messages


class Params(Record):
    """Which model, and how to run it."""

    folder: Path | None = None
    """A model folder; None is the untuned base."""
    cache: Path
    """Where graphs that are made from weights are kept."""
    threads: int = 0
    """Processor threads; 0 means all cores."""


def build(params: Params) -> "BuiltinSampler":
    """Load the model."""
    if params.folder is None:
        return BuiltinSampler(BaseModel(params.cache, threads=params.threads))
    return BuiltinSampler(load_tuned(params.folder, params.cache, threads=params.threads))


class BuiltinSampler:
    """Answers from the model's exact distribution."""

    def __init__(self, model: Embedded) -> None:
        self._model = model

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order.

        Raises:
            InvalidInput: one of them asks for what this model could not keep its word on.

        """
        for prompt in prompts:
            _check(prompt)
        asked = [_messages(prompt) for prompt in prompts]
        found = self._model.distributions(asked)
        completions = []
        for prompt, messages, distribution in zip(prompts, asked, found, strict=True):
            choices = generate(distribution, prompt.sampling)
            usage = Usage.model_construct(
                prompt_tokens=count_messages(messages) + TOKENS_PER_REPLY,
                completion_tokens=sum(len(choice.tokens) for choice in choices),
            )
            completions.append(Completion.model_construct(choices=choices, usage=usage))
        return completions

    def stream(self, prompt: Prompt) -> Iterator[Token | Finish | Usage]:
        """Answer one prompt token by token.

        The encoder runs once, before the first token; the tokens after it take microseconds.
        """
        completion = self.sample([prompt])[0]
        for index, choice in enumerate(completion.choices):
            yield from choice.tokens
            yield Finish(choice=index, reason=choice.finish_reason)
        yield completion.usage

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Return unit vectors, shape (texts, 384), and the o200k tokens that were read."""
        vectors = self._model.encoder.embed(texts)
        return vectors, sum(count_messages([{"content": text}]) - 3 for text in texts)


def _check(prompt: Prompt) -> None:
    form = (prompt.response_format or {}).get("type", "text")
    if form != "text":
        raise InvalidInput(
            f"This model cannot guarantee response_format '{form}': train it on answers of "
            "that form, and ask without response_format.",
            code="unsupported_value",
            param="response_format",
        )
    if prompt.tool_choice not in ("none", "auto"):
        raise InvalidInput(
            "This model does not call tools: tool_choice must be 'none' or 'auto'.",
            code="unsupported_value",
            param="tool_choice",
        )


def _messages(prompt: Prompt) -> Sequence[dict[str, Any]]:
    """Return what is asked; this model answers and goes on with nothing, so a text is a question."""
    if prompt.text is None:
        return prompt.messages
    return ({"role": "user", "content": prompt.text},)
