"""What a model's answers cost, and when its training has paid for itself. Unknown stays unknown."""

from collections.abc import Mapping

from selftune.core.records import Record
from selftune.evaluate.rounds import ArmRecord
from selftune.models.costs import (
    BreakEven,
    Request,
    break_even,
    cost_per_thousand,
    cost_per_year,
)

TRAINING = "training_dollars"
"""The fact of a round that says what the training of its arm `TUNED` cost."""
TUNED = "tuned"
"""The arm whose model a run trained, by whatever name it is asked."""


class Money(Record):
    """US dollars."""

    per_thousand: float | None
    """Of 1,000 answers; None where a price or the tokens are not known."""
    per_year: float | None
    """At the volume that was given; None without one."""
    training: float | None
    """Of the model's own training; None where there was none, or nobody knows."""
    break_even: BreakEven | None
    """When the training has paid for itself; None for a model that was not trained."""


def money(
    arm: ArmRecord,
    tokens: Request | None,
    requests_per_day: float | None,
    facts: Mapping[str, str],
) -> Money:
    """Return what a model costs; `with_break_even` adds what only a comparison tells."""
    thousand = year = None
    if tokens is not None and arm.rates is not None:
        thousand = cost_per_thousand(tokens, arm.rates)
        if requests_per_day is not None:
            year = cost_per_year(tokens, arm.rates, requests_per_day)
    training = _dollars(facts.get(TRAINING)) if arm.name == TUNED else None
    return Money(per_thousand=thousand, per_year=year, training=training, break_even=None)


def with_break_even(found: Money, baseline: Money, requests_per_day: float | None) -> Money:
    """Return what a model costs, with when its training has paid for itself."""
    if found.training is None:
        return found
    before, after = _one(baseline), _one(found)
    paid = break_even(found.training, before, after, requests_per_day)
    return found.model_copy(update={"break_even": paid})


def _one(found: Money) -> float | None:
    return None if found.per_thousand is None else found.per_thousand / 1000


def _dollars(text: str | None) -> float | None:
    try:
        return None if text is None else float(text.replace(",", "").removeprefix("$"))
    except ValueError:
        return None
