"""The absolute error of the number in an answer."""

import re
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer

_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")


class Params(Record):
    """Where the truth is, and what error passes."""

    name: str = "numeric_error"
    input: str = "{{ sample.output_text }}"
    reference: str
    """Template of the true number."""
    pass_absolute: float = 40.0
    pass_relative: float = 0.2
    """An answer passes when either error is small enough."""


def build(params: Params) -> Scorer:
    """Make the scorer; its value is the absolute error, so less is better."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        truth = parse(fill(params.reference, item, sample))
        guess = parse(fill(params.input, item, sample))
        if truth is None:
            raise InvalidInput(f"the reference {params.reference!r} has no number")
        if guess is None:
            return Scored(status="errored", reason="the answer has no number")
        error = abs(guess - truth)
        good = error <= params.pass_absolute or error <= params.pass_relative * abs(truth)
        return Scored(status="scored", value=error, credit=float(good), passed=good)

    return score


def parse(text: str) -> float | None:
    """Return the first number of a text; thousands separators and a currency sign may be there."""
    found = _NUMBER.search(text)
    return float(found[0].replace(",", "")) if found else None
