"""Who is asked, and how: a model, where it answers, and what stands before each question."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from pydantic import Field

from selftune.core.canonical import fingerprint
from selftune.core.records import Record
from selftune.evaluate.items import Item
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint, address_of
from selftune.models.messages import SYSTEM_ROLES
from selftune.models.prices import Rates

Message = dict[str, Any]


class Arm(Record):
    """One way to answer the items."""

    name: str
    """How tables call it."""
    model: str
    endpoint: Endpoint | None = None
    """Where the model answers; None for a model of this machine."""
    system: str | None = None
    """System message in place of the items' own."""
    examples: tuple[Message, ...] = ()
    """Messages that stand before every question, after the system message."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Words of the chat API: temperature, max_tokens, …"""
    rates: Rates | None = None
    """What its tokens cost; None is unknown."""
    salt: str = ""
    """Set it to ask anew what was asked before."""


class Answerer(Protocol):
    """Answers questions, many at a time, with all its attempts."""

    @property
    def requests(self) -> int:
        """Requests that were sent so far."""
        ...

    @property
    def lag(self) -> float:
        """How late this process was, as a share of the median latency."""
        ...

    async def ready(self) -> int:
        """Return when one more question would be asked at once, and how many would be."""
        ...

    async def answer(self, asked: Question) -> Answer:
        """Return what became of a question; raise when no question will ever be answered."""
        ...


Open = Callable[[str, Endpoint | None], AbstractAsyncContextManager[Answerer]]
"""Opens what answers for a model at an endpoint, or for a model of this machine."""


def question_for(arm: Arm, item: Item, sample: int, seed: int | None) -> Question:
    """Return what an arm asks of an item; `sample` counts repeated questions from 0.

    The key is of all that is asked and where, so that the same one was paid for already.
    """
    body: dict[str, Any] = {
        "model": arm.model,
        "messages": _messages(arm, item),
        **item.request,
        **arm.sampling,
    }
    if seed is not None:
        body.setdefault("seed", seed + sample)
    asked: dict[str, Any] = {"body": body, "place": place_of(arm.endpoint), "sample": sample}
    return Question(key=fingerprint(asked | {"salt": arm.salt} if arm.salt else asked), body=body)


def place_of(endpoint: Endpoint | None) -> str | None:
    """Return where an endpoint is, without credentials; None for this machine."""
    return None if endpoint is None else address_of(endpoint) or "https://api.openai.com/v1"


def _messages(arm: Arm, item: Item) -> list[Message]:
    if arm.system is None and not arm.examples:
        return list(item.messages)
    system = [m for m in item.messages if m.get("role") in SYSTEM_ROLES]
    rest = [m for m in item.messages if m.get("role") not in SYSTEM_ROLES]
    if arm.system is not None:
        system = [{"role": "system", "content": arm.system}]
    return [*system, *arm.examples, *rest]
