"""What a run has used so far, and whether it may go on."""

from dataclasses import dataclass, field
from typing import NamedTuple

from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.task import RatesOf
from selftune.models.answers import Answer, Question
from selftune.models.costs import Request, cost
from selftune.models.endpoint import Endpoint

_BYTES_PER_TOKEN = 3
"""Fewer than any language has in the usual tokenizers, so that what is reserved is enough."""
_READ = ("messages", "tools", "response_format")
"""What of a request becomes tokens."""
_ANSWER_TOKENS = 1024
"""Reserved for an answer without a limit, until longer ones were seen."""


class _Amount(NamedTuple):
    tokens: int
    dollars: float


_NOTHING = _Amount(0, 0.0)


@dataclass
class Meter:
    """Counts tokens and dollars of a run, reserves for what is on its way, and says when to stop."""

    limits: Limits
    rates_of: RatesOf
    dollars: float | None = 0.0
    """None as soon as something was used that has no price."""
    _taken: _Amount = _NOTHING
    """Of the budget: what was used, and the most that it may be where nobody told."""
    _reserved: dict[str, _Amount] = field(default_factory=dict)
    _longest: int = _ANSWER_TOKENS

    @property
    def has_budget(self) -> bool:
        """Whether there is anything to stop for."""
        return self.limits.budget_dollars is not None or self.limits.budget_tokens is not None

    @property
    def is_waiting(self) -> bool:
        """Whether something is on its way that may use less than was set aside for it."""
        return bool(self._reserved)

    def allows(self, asked: Question, endpoint: Endpoint | None) -> bool:
        """Return whether a question fits into the budget, and reserve for it.

        Raises:
            InvalidInput: there is a budget in dollars, and no price.

        """
        most = self._most(asked, endpoint)
        together = (self._taken, most, *self._reserved.values())
        all_tokens, all_dollars = map(sum, zip(*together, strict=True))
        if all_tokens > (self.limits.budget_tokens or all_tokens):
            return False
        if all_dollars > (self.limits.budget_dollars or all_dollars):
            return False
        self._reserved[asked.key] = most
        return True

    def count(self, asked: Question, endpoint: Endpoint | None, answer: Answer) -> None:
        """Count an answer that was asked for now."""
        most = self._reserved.pop(asked.key, _NOTHING)
        model = str(asked.body.get("model"))
        if answer.usage is None:
            if answer.status not in ("failed", "rejected"):
                self.dollars = None
                self._take(most.tokens, most.dollars)
            return
        self._longest = max(self._longest, answer.usage.completion_tokens)
        spent = self._cost(model, endpoint, _request(answer.usage))
        self.dollars = None if spent is None or self.dollars is None else self.dollars + spent
        self._take(answer.usage.total_tokens, spent or 0.0)

    def _take(self, tokens: int, dollars: float) -> None:
        self._taken = _Amount(self._taken.tokens + tokens, self._taken.dollars + dollars)

    def _most(self, asked: Question, endpoint: Endpoint | None) -> _Amount:
        """Return the most tokens and dollars that a question is expected to use."""
        body = asked.body
        read = [body[name] for name in _READ if name in body]
        prompt = len(str(read).encode(errors="replace")) // _BYTES_PER_TOKEN
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or self._longest
        if self.limits.budget_dollars is None:
            return _Amount(prompt + limit, 0.0)
        model = str(body.get("model"))
        request = Request(prompt_tokens=prompt, completion_tokens=limit)
        price = self._cost(model, endpoint, request)
        if price is None:
            raise InvalidInput(
                f"There is a budget in dollars and no price of {model!r}: state it in a file of "
                "prices (SELFTUNE_PRICES), or set a budget in tokens."
            )
        return _Amount(prompt + limit, price)

    def _cost(self, model: str, endpoint: Endpoint | None, request: Request) -> float | None:
        rates = self.rates_of(model, endpoint)
        return None if rates is None else cost(request, rates)


def _request(usage: Usage) -> Request:
    return Request(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )
