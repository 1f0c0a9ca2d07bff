"""What some graders need from outside: a model that answers, and vectors of texts.

This stage knows neither the serving process nor HTTP: whoever builds graders says what they ask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from selftune.core.errors import Unavailable
from selftune.core.records import Record, Usage


class Asked(Record):
    """One question to a model that judges."""

    model: str
    messages: tuple[dict[str, Any], ...]
    """Chat messages; content is text, or parts where there are pictures or sound."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Words of the chat API; what is not there is for the endpoint to decide."""
    answer_schema: dict[str, Any]
    """JSON Schema of the answer. The messages ask for it too: not every endpoint can enforce it."""


class Reply(Record):
    """What the model said."""

    text: str
    model: str
    usage: Usage
    is_refusal: bool = False
    is_cut: bool = False
    """It ended at the limit of its length."""


Ask = Callable[[Asked], Reply]
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


def _no_model(_asked: Asked) -> Reply:
    raise Unavailable("This grader asks a model, and none is at hand here.")


def no_vectors(_texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Refuse: there is nothing to make vectors with."""
    raise Unavailable("This grader compares vectors, and no embedding model is at hand here.")


@dataclass(frozen=True)
class Means:
    """How to ask a model and how to embed texts. Each may raise a `SelftuneError`."""

    ask: Ask = _no_model
    embed: Embed = no_vectors


NO_MEANS = Means()
