"""What a run has used so far, of whom, and whether it may go on."""

from dataclasses import dataclass, field

from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.task import RatesOf
from selftune.models.answers import Answer, Question
from selftune.models.costs import Request, cost
from selftune.models.endpoint import Endpoint

_BYTES_PER_TOKEN = 3
"""Fewer than any language has in the usual tokenizers, so that what is reserved is enough."""
_ANSWER_TOKENS = 1024
"""Reserved for an answer without a limit, until longer ones were seen."""


@dataclass
class Used:
    """What one model has used."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def add(self, usage: Usage | None) -> None:
        """Count one answer; what the endpoint does not tell is not counted as tokens."""
        self.calls += 1
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens


@dataclass
class Meter:
    """Counts tokens and dollars of a run, reserves for what is on its way, and says when to stop."""

    limits: Limits
    rates_of: RatesOf
    used: dict[str, Used] = field(default_factory=dict)
    dollars: float | None = 0.0
    """None as soon as something was used that has no price."""
    tokens: int = 0
    _reserved: dict[str, tuple[int, float]] = field(default_factory=dict)
    _longest: int = _ANSWER_TOKENS

    def allows(self, asked: Question, endpoint: Endpoint | None) -> bool:
        """Return whether a question fits into the budget, and reserve for it.

        Raises:
            InvalidInput: there is a budget in dollars, and no price.

        """
        if self.limits.budget_dollars is None and self.limits.budget_tokens is None:
            return True
        tokens, dollars = self._most(asked, endpoint)
        on_their_way = self._reserved.values()
        all_tokens = self.tokens + tokens + sum(each[0] for each in on_their_way)
        all_dollars = (self.dollars or 0.0) + dollars + sum(each[1] for each in on_their_way)
        if all_tokens > (self.limits.budget_tokens or all_tokens):
            return False
        if all_dollars > (self.limits.budget_dollars or all_dollars):
            return False
        self._reserved[asked.key] = tokens, dollars
        return True

    def count(self, asked: Question, endpoint: Endpoint | None, answer: Answer) -> None:
        """Count an answer that was asked for now."""
        self._reserved.pop(asked.key, None)
        model = str(asked.body.get("model"))
        self.used.setdefault(model, Used()).add(answer.usage)
        if answer.usage is None:
            self.dollars = self.dollars if answer.status in ("failed", "rejected") else None
            return
        self.tokens += answer.usage.total_tokens
        self._longest = max(self._longest, answer.usage.completion_tokens)
        spent = self._cost(model, endpoint, _request(answer.usage))
        self.dollars = None if spent is None or self.dollars is None else self.dollars + spent

    def _most(self, asked: Question, endpoint: Endpoint | None) -> tuple[int, float]:
        """Return the most tokens and dollars that a question is expected to use."""
        body = asked.body
        prompt = len(str(body["messages"]).encode(errors="replace")) // _BYTES_PER_TOKEN
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or self._longest
        if self.limits.budget_dollars is None:
            return prompt + limit, 0.0
        model = str(body.get("model"))
        request = Request(prompt_tokens=prompt, completion_tokens=limit)
        price = self._cost(model, endpoint, request)
        if price is None:
            raise InvalidInput(
                f"There is a budget in dollars and no price of {model!r}: state it in a file of "
                "prices (SELFTUNE_PRICES), or set a budget in tokens."
            )
        return prompt + limit, price

    def _cost(self, model: str, endpoint: Endpoint | None, request: Request) -> float | None:
        rates = self.rates_of(model, endpoint)
        return None if rates is None else cost(request, rates)


def _request(usage: Usage) -> Request:
    return Request(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )
