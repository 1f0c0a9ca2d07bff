"""What it means to ask a model: a prompt goes in, a completion comes out, whoever serves it."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field

from selftune.core.errors import SelftuneError
from selftune.core.records import Record, Usage

if TYPE_CHECKING:
    import numpy as np


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
    text: str | None = None
    """A text to go on with instead of messages, with no chat template around it."""
    tools: tuple[dict[str, Any], ...] = ()
    """OpenAI's `tools`."""
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
    """OpenAI's `response_format`; the answer is held to it."""


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


class ToolCall(Record):
    """A function that the model wants called."""

    choice: int = 0
    name: str
    arguments: str
    """JSON."""


class Finish(Record):
    """The end of one of the `n` answers."""

    choice: int = 0
    reason: str
    """`stop`, `length` or `tool_calls`."""


class Choice(Record):
    """One whole answer."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str
    tool_calls: tuple[ToolCall, ...] = ()


class Completion(Record):
    """Everything that came back for one prompt."""

    choices: tuple[Choice, ...]
    usage: Usage


Piece = Token | ToolCall | Finish | Usage


class Sampler(Protocol):
    """A model that answers. Batch in, batch out; concurrency is the sampler's own affair."""

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order."""
        ...

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """Answer one prompt token by token; the last item is the usage."""
        ...

    def embed(self, texts: Sequence[str]) -> "tuple[np.ndarray, int]":
        """Return unit vectors, shape (texts, width), float32, and the tokens that were read."""
        ...


class LiveSampler(Sampler, Protocol):
    """A sampler that takes new prompts while it answers others: continuous batching.

    All calls come from one thread; it is built in another, while others of its engine are stepped.
    Nothing happens between two calls of `step`.
    """

    def start(self, prompt: Prompt, tell: Callable[[Piece | SelftuneError], None]) -> int:
        """Take a prompt and return its number.

        `tell` is called from `step`, last with the usage or with the error that ended the answer.

        Raises:
            InvalidInput: the model cannot do what is asked, or the prompt is too long.

        """
        ...

    def drop(self, number: int) -> None:
        """Forget a prompt whose caller has gone."""
        ...

    def step(self) -> bool:
        """Take the next token of every answer that is under way; False when there is none."""
        ...
