"""What a run may spend, and what it has spent: a question is asked only if the worst case fits.

The worst case of a question is its prompt and its limit of tokens; of an attempt that was never
answered, the same. Prices are US dollars for 1,000,000 tokens.
"""

from math import ceil
from typing import Annotated, Any

from pydantic import Field

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.synthesis.journal import Journal, Tokens
from selftune.models import prices
from selftune.models.answers import Answer, Question
from selftune.models.tokens import count

_PER = 1_000_000
_PRIMING = 16
"""Tokens that chat templates add around the messages, at most a few for each."""


class Budget(Record):
    """Where to stop; None is no limit."""

    dollars: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, Field(ge=1)] | None = None
    input_price: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Dollars for 1,000,000 tokens of prompts, where the price list does not know or is wrong."""
    output_price: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Spent(Record):
    """What a run has used so far."""

    prompt_tokens: int
    completion_tokens: int
    perhaps_tokens: int
    """The most that attempts without an answer can have used besides."""
    dollars: float | None
    """None where a price is not known."""
    perhaps_dollars: float | None


class Account:
    """The journal's sums in tokens and dollars, kept up to date question by question."""

    def __init__(self, journal: Journal, budget: Budget, *, is_batch: bool) -> None:
        self._journal = journal
        self._budget = budget
        self._is_batch = is_batch
        self._rates: dict[str, tuple[float | None, float | None]] = {}
        self._most: dict[str, tuple[str, Tokens]] = {}
        self._stretch = 1.0
        """How many more tokens the endpoint counted than we did, at most: its own may be smaller."""
        self.reload()

    def reload(self) -> None:
        """Read the sums from the journal."""
        self._tokens, self._dollars = 0, 0.0
        for sums in (self._journal.paid(), self._journal.perhaps_paid()):
            for model, used in sums.items():
                self._add(model, used)

    def check_price(self, model: str) -> None:
        """Refuse a budget in dollars for a model whose price nobody knows.

        Raises:
            InvalidInput: with what to do.

        """
        if self._budget.dollars is not None and None in self._rates_of(model):
            raise InvalidInput(
                f"The price of {model!r} is not known, so a budget in dollars cannot be kept: give "
                "--input-price and --output-price (dollars for 1,000,000 tokens), or "
                "--budget-tokens."
            )

    def allows(self, asked: Question) -> bool:
        """Return whether the question fits into the budget, whatever its answer costs."""
        prompt, completion = most_tokens(asked)
        most, model = Tokens(ceil(prompt * self._stretch), completion), str(asked.body["model"])
        tokens, dollars = self._budget.tokens, self._budget.dollars
        if tokens is not None and self._tokens + sum(most) > tokens:
            return False
        return dollars is None or self._dollars + (self.cost(model, most) or 0.0) <= dollars

    def begin(self, asked: Question, batch: str | None = None) -> None:
        """Write that the question is about to be sent."""
        most, model = most_tokens(asked), str(asked.body["model"])
        self._journal.intend(asked, most, batch)
        self._most[asked.key] = (model, most)
        self._add(model, most)

    def settle(self, asked: Question, answer: Answer) -> None:
        """Write what became of the question."""
        model, most = self._most.pop(asked.key, (str(asked.body["model"]), most_tokens(asked)))
        used = _used(asked, answer)
        self._stretch = max(self._stretch, used.prompt / most.prompt)
        self._journal.settle(answer, used)
        self._add(model, most, answer.unheard - 1)
        self._add(model, used)

    def spent(self) -> Spent:
        """Return what was used so far."""
        paid, perhaps = self._journal.paid(), self._journal.perhaps_paid()
        return Spent(
            prompt_tokens=sum(used.prompt for used in paid.values()),
            completion_tokens=sum(used.completion for used in paid.values()),
            perhaps_tokens=sum(sum(used) for used in perhaps.values()),
            dollars=self._total(paid),
            perhaps_dollars=self._total(perhaps),
        )

    def cost(self, model: str, used: Tokens) -> float | None:
        """Return dollars, or None where the price is not known."""
        into, out = self._rates_of(model)
        if into is None or out is None:
            return None
        return (used.prompt * into + used.completion * out) / _PER

    def _total(self, sums: dict[str, Tokens]) -> float | None:
        costs = [self.cost(model, used) for model, used in sums.items()]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def _add(self, model: str, used: Tokens, times: int = 1) -> None:
        self._tokens += times * sum(used)
        self._dollars += times * (self.cost(model, used) or 0.0)

    def _rates_of(self, model: str) -> tuple[float | None, float | None]:
        if model not in self._rates:
            into, out = self._budget.input_price, self._budget.output_price
            found = prices.find(model)
            if found is not None:
                rates = found.rates(model)
                listed = (
                    (rates.batch_input, rates.batch_output)
                    if self._is_batch
                    else (rates.input, rates.output)
                )
                into = listed[0] if into is None else into
                out = listed[1] if out is None else out
            self._rates[model] = (into, out)
        return self._rates[model]


def most_tokens(asked: Question) -> Tokens:
    """Return the most that one attempt can use: the request's JSON as tokens, and its limit."""
    body: dict[str, Any] = asked.body
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return Tokens(count(canonical_json(body)) + _PRIMING, limit)


def _used(asked: Question, answer: Answer) -> Tokens:
    """Return what an answer used: as the endpoint says, else counted here."""
    if answer.usage is not None:
        return Tokens(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    if answer.status in ("failed", "rejected"):
        return Tokens()
    return Tokens(most_tokens(asked).prompt, count(answer.text))
