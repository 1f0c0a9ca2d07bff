"""The arithmetic of money and change: pure functions, shared by estimates and reports.

A price that is not known makes a cost that is not known: None, never zero.
"""

import math
from typing import Literal

from selftune.core.records import Record
from selftune.models.prices import Rates

MILLION = 1_000_000
DAYS_PER_YEAR = 365


class Request(Record):
    """Tokens of one request, on average."""

    prompt_tokens: float
    completion_tokens: float
    cached_tokens: float = 0.0
    """Tokens of the prompt that the provider has seen before, and bills as cached."""


class BreakEven(Record):
    """When a training has paid for itself, or why it never does."""

    requests: int | None
    """None is never, or unknown."""
    days: float | None
    """None where `requests` is, or where the volume is not known."""
    reason: str


Tier = Literal["standard", "batch"]


def cost(request: Request, rates: Rates, tier: Tier = "standard") -> float | None:
    """Return the US dollars of one request.

    (prompt - cached) / 10^6 x input + cached / 10^6 x cached input + completion / 10^6 x output,
    each rate being that of 1,000,000 tokens.
    """
    batch = tier == "batch"
    paid = (
        (
            request.prompt_tokens - request.cached_tokens,
            rates.batch_input if batch else rates.input,
        ),
        (request.cached_tokens, rates.batch_cached_input if batch else rates.cached_input),
        (request.completion_tokens, rates.batch_output if batch else rates.output),
    )
    total = 0.0
    for tokens, rate in paid:
        if tokens and rate is None:
            return None
        total += tokens / MILLION * (rate or 0.0)
    return total


def cost_per_thousand(request: Request, rates: Rates, tier: Tier = "standard") -> float | None:
    """Return the US dollars of 1,000 requests."""
    one = cost(request, rates, tier)
    return None if one is None else 1000 * one


def cost_per_year(
    request: Request, rates: Rates, requests_per_day: float, tier: Tier = "standard"
) -> float | None:
    """Return the US dollars of a year of 365 days."""
    one = cost(request, rates, tier)
    return None if one is None else one * requests_per_day * DAYS_PER_YEAR


def training_cost(tokens: int, epochs: int, rate: float | None) -> float | None:
    """Return the US dollars of a training: tokens / 10^6 x epochs x rate of 1,000,000 tokens.

    `tokens` are those of the training file, each example cut at the model's limit; tokens of the
    validation file are not billed (OpenAI's fine-tuning guide).
    """
    return None if rate is None else tokens / MILLION * epochs * rate


def percent_change(before: float, after: float) -> float:
    """Return how much `after` is above `before`, in percent of `before`: 100 (after / before - 1).

    A time that falls from 1.61 s to 1.06 s changes by -34.2 %. (Dividing by `after`, or by the mean
    of both, gives larger figures that are no share of the time that was needed.)

    Raises:
        ValueError: `before` is zero, so that there is no share of it.

    """
    if before == 0:
        raise ValueError("There is no percentage of zero.")
    return 100 * (after / before - 1)


def break_even(
    training: float | None,
    before: float | None,
    after: float | None,
    requests_per_day: float | None = None,
) -> BreakEven:
    """Return when a training has paid for itself: the first n with n x (before - after) >= training.

    All in US dollars; `before` and `after` are the cost of one request without and with it.
    """
    if training is None or before is None or after is None:
        return BreakEven(requests=None, days=None, reason="unknown: a price is not known")
    saved = before - after
    if training == 0 and saved >= 0:
        return BreakEven(requests=0, days=0.0, reason="at once: the training costs no tokens")
    if saved <= 0:
        same = "the same" if saved == 0 else f"${-1000 * saved:.4f} more for 1,000"
        return BreakEven(requests=None, days=None, reason=f"never: requests then cost {same}")
    requests = math.ceil(training / saved)
    days = requests / requests_per_day if requests_per_day else None
    return BreakEven(
        requests=requests, days=days, reason=f"${1000 * saved:.4f} saved on each 1,000 requests"
    )
