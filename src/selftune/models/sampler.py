"""What it means to ask a model: a prompt goes in, a completion comes out, whoever serves it."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from selftune.core.records import Record, Usage


class Sampling(Record):
    """How to draw from a model's distribution; the fields are OpenAI's."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    logit_bias: dict[int, float] = Field(default_factory=dict)


class Prompt(Record):
    """One request: chat messages as OpenAI writes them, and how to sample."""

    messages: tuple[dict[str, Any], ...]
    sampling: Sampling = Sampling()


class Alternative(Record):
    """A token that could have stood here, with the logarithm of its probability."""

    token: str
    """Text of the token; bytes that are not UTF-8 by themselves show as U+FFFD."""
    bytes: tuple[int, ...]
    logprob: float


class Token(Record):
    """One sampled token. `choice` tells which of the `n` answers it belongs to."""

    choice: int = 0
    text: str
    """What this token adds to the answer; may be empty while a character is incomplete."""
    id: int
    bytes: tuple[int, ...]
    logprob: float
    """Under the model's own distribution, before temperature and top_p."""
    top: tuple[Alternative, ...] = ()


class Finish(Record):
    """The end of one of the `n` answers."""

    choice: int = 0
    reason: str
    """`stop` or `length`."""


class Choice(Record):
    """One whole answer."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str


class Completion(Record):
    """Everything that came back for one prompt."""

    choices: tuple[Choice, ...]
    usage: Usage


class Sampler(Protocol):
    """A model that answers. Batch in, batch out; concurrency is the sampler's own affair."""

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order."""
        ...

    def stream(self, prompt: Prompt) -> Iterator[Token | Finish | Usage]:
        """Answer one prompt token by token; the last item is the usage."""
        ...

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Return unit vectors, shape (texts, width), float32, and the tokens that were read."""
        ...
