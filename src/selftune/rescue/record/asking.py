"""Ask an account politely: within a number of requests, and without the words that a model refuses."""

import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Self

from selftune.core.errors import BudgetSpent, InvalidInput, PermissionDenied
from selftune.core.settings import Settings
from selftune.evaluate.arms import Answerer
from selftune.evaluate.evalfile import Limits
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.models.prices import Rates
from selftune.prove.home import Home

LOGPROBS, TEMPERATURE = "logprobs", "temperature"
_REFUSED = (LOGPROBS, TEMPERATURE, "max_tokens", "stop")
"""What models that think do not take; logprobs, some accounts neither."""
_OTHER_NAMES = {"max_tokens": "max_completion_tokens"}


@dataclass
class Purse:
    """How many requests may still be sent, by all models of one command together."""

    requests: int | None = None
    """None is no limit."""
    refused: dict[str, set[str]] = field(default_factory=dict)
    """Words of requests that models do not take, by the model."""

    def take(self) -> None:
        """Take one request.

        Raises:
            BudgetSpent: there is none left.

        """
        if self.requests is None:
            return
        if self.requests < 1:
            raise BudgetSpent(
                "The budget of requests is spent. What was answered is kept; the same command again "
                "goes on with a new budget as large."
            )
        self.requests -= 1


class RecordingHome(Home):
    """A home whose endpoints are asked for a recording."""

    def __init__(self, settings: Settings, purse: Purse, model: str | None = None) -> None:
        """Make a home; `model` is what is paid for where it is asked under another name."""
        super().__init__(settings)
        self._purse, self._model = purse, model

    def rates(self, model: str, endpoint: Endpoint | None) -> Rates | None:
        """Return what a model's tokens cost: by its own name, else by that at its account."""
        known = None if self._model is None else super().rates(self._model, endpoint)
        return known or super().rates(model, endpoint)

    def open(
        self, model: str, endpoint: Endpoint | None, limits: Limits
    ) -> AbstractAsyncContextManager[Answerer]:
        """Open what answers for a model."""
        if endpoint is None:
            raise InvalidInput(f"{model!r} has no account to be asked at.")
        return _Asked(super().open(model, endpoint, limits), self._purse)


class _Asked:
    """An endpoint that is asked within a budget; it is its own context."""

    def __init__(self, opened: AbstractAsyncContextManager[Answerer], purse: Purse) -> None:
        self._opened, self._purse = opened, purse

    async def __aenter__(self) -> Self:
        self._inner = await self._opened.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._opened.__aexit__(None, None, None)

    @property
    def requests(self) -> int:
        """Requests that were sent so far."""
        return self._inner.requests

    @property
    def lag(self) -> float:
        """How late this process was."""
        return self._inner.lag

    async def ready(self) -> int:
        """Return when one more question would be asked at once."""
        return await self._inner.ready()

    async def answer(self, asked: Question) -> Answer:
        """Ask, and again without each word that is refused; what a model refused is not tried again."""
        refused = self._purse.refused.setdefault(str(asked.body.get("model")), set())
        for known in refused:
            asked = without(asked, known)
        while True:
            try:
                answer = await self._ask(asked)
            except PermissionDenied as error:
                word = refused_word(asked, error.message)
                if word is None:
                    raise
            else:
                word = refused_word(asked, answer.reason) if answer.status == "rejected" else None
                if word is None:
                    return answer
            refused.add(word)
            asked = without(asked, word)

    async def _ask(self, asked: Question) -> Answer:
        self._purse.take()
        return await self._inner.answer(asked)


def refused_word(asked: Question, reason: str) -> str | None:
    """Return which word of a request a model does not take, where it says so."""
    told = (word for word in _REFUSED if word in asked.body and re.search(rf"\b{word}\b", reason))
    return next(told, None)


def without(asked: Question, word: str) -> Question:
    """Return a question without a word, or with the newer one for it, under its own key."""
    body = {name: value for name, value in asked.body.items() if name != word}
    if word in _OTHER_NAMES and word in asked.body:
        body.setdefault(_OTHER_NAMES[word], asked.body[word])
    return asked.model_copy(update={"body": body})
