"""What requests cost before and after a training, and when the training has paid for itself.

One row stands for one request: all before its last answer is the prompt, the answer is written.
"""

from collections.abc import Mapping, Sequence

from selftune.core.records import Record
from selftune.models.costs import (
    Request,
    break_even,
    cost,
    cost_per_thousand,
    cost_per_year,
)
from selftune.models.open_tokenizer import is_folder_of_a_model
from selftune.models.prices import FREE, Prices, Rates

WHOLE, TUNED, BARE = "untuned, whole prompt", "tuned, whole prompt", "tuned, no system prompt"
"""What can be asked: a training may make the system prompt needless."""


class Asked(Record):
    """Tokens of one request, on average over the rows."""

    prompt_tokens: float
    system_tokens: float
    """Of the prompt, what the system messages take."""
    answer_tokens: float
    cached_tokens: float
    """Of the prompt, what a warm cache would hold."""


class RequestCost(Record):
    """What requests to one model cost, in US dollars; None is unknown."""

    model: str
    variant: str
    prompt_tokens: float
    answer_tokens: float
    one: float | None
    thousand: float | None
    thousand_cached: float | None
    """With a warm cache; None also where no beginning of 1,024 tokens is shared."""
    thousand_batch: float | None
    year: float | None
    """At the volume that was given."""


class Payback(Record):
    """When a training has paid for itself against asking another way."""

    model: str
    """Tuned, and asked without the system prompt where rows have one."""
    against: str
    """Untuned, and asked with the whole prompt."""
    requests: int | None
    """None is never, or unknown: `reason` says which."""
    days: float | None
    reason: str


def request_costs(
    models: Sequence[str],
    prices: Prices,
    asked: Mapping[str, Asked],
    requests_per_day: float | None,
    compare: str | None,
) -> tuple[RequestCost, ...]:
    """Return the cost of requests: untuned and tuned, and of a model to compare with."""
    found = []
    for model in models:
        for variant in (WHOLE, TUNED, BARE):
            if variant == BARE and asked[model].system_tokens == 0:
                continue  # there is no prompt to leave out
            rates = _rates(model, prices, tuned=variant != WHOLE)
            found.append(_cost(model, variant, asked[model], rates, requests_per_day))
    if compare is not None and compare not in models:
        rates = _rates(compare, prices, tuned=False)
        found.append(_cost(compare, WHOLE, asked[compare], rates, requests_per_day))
    return tuple(found)


def paybacks(
    costs: Sequence[RequestCost],
    trainings: Mapping[str, float | None],
    requests_per_day: float | None,
    rivals: Mapping[str, Sequence[str]],
) -> tuple[Payback, ...]:
    """Return when each training has paid for itself against each of its rivals."""
    one = {(cost.model, cost.variant): cost.one for cost in costs}
    found = []
    for model, training in trainings.items():
        after = one.get((model, BARE), one[model, TUNED])
        for rival in rivals[model]:
            if one[rival, WHOLE] == after == 0:
                continue  # both run on your own machine
            even = break_even(training, one[rival, WHOLE], after, requests_per_day)
            found.append(
                Payback(
                    model=model,
                    against=rival,
                    requests=even.requests,
                    days=even.days,
                    reason=even.reason,
                )
            )
    return tuple(found)


def _cost(
    model: str, variant: str, asked: Asked, rates: Rates, requests_per_day: float | None
) -> RequestCost:
    bare = variant == BARE
    prompt = asked.prompt_tokens - (asked.system_tokens if bare else 0)
    plain = Request(prompt_tokens=prompt, completion_tokens=asked.answer_tokens)
    cached = plain.model_copy(update={"cached_tokens": asked.cached_tokens})
    return RequestCost(
        model=model,
        variant=variant,
        prompt_tokens=prompt,
        answer_tokens=asked.answer_tokens,
        one=cost(plain, rates),
        thousand=cost_per_thousand(plain, rates),
        thousand_cached=(
            cost_per_thousand(cached, rates) if asked.cached_tokens and not bare else None
        ),
        thousand_batch=cost_per_thousand(plain, rates, "batch"),
        year=cost_per_year(plain, rates, requests_per_day) if requests_per_day else None,
    )


def _rates(model: str, prices: Prices, *, tuned: bool) -> Rates:
    if is_folder_of_a_model(model):
        return FREE
    price = prices.find(model)
    if price is None:
        return Rates()
    return (price.tuned or Rates()) if tuned else price.rates(model)
