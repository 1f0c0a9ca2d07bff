"""The error of the number in an answer: absolute, relative, or squared between logarithms."""

import math
import re
from collections.abc import Callable
from typing import Any, Literal

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer

_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")
_ERRORS: dict[str, Callable[[float, float], float]] = {
    "absolute": lambda guess, truth: abs(guess - truth),
    "relative": lambda guess, truth: abs(guess - truth) / abs(truth),
    "squared_log": lambda guess, truth: (math.log1p(guess) - math.log1p(truth)) ** 2,
}


class Params(Record):
    """Where the truth is, and what error passes."""

    name: str = "numeric_error"
    input: str = "{{ sample.output_text }}"
    reference: str
    """Template of the true number."""
    measure: Literal["absolute", "relative", "squared_log"] = "absolute"
    """What the value is; `squared_log` is (ln(1 + guess) - ln(1 + truth))^2, a guess below 0
    counts as 0. What passes does not depend on it."""
    pass_absolute: float = 40.0
    pass_relative: float = 0.2
    """An answer passes when either error is small enough."""


def build(params: Params) -> Scorer:
    """Make the scorer; its value is the error, so less is better."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        truth = parse(fill(params.reference, item, sample))
        guess = parse(fill(params.input, item, sample))
        if truth is None:
            raise InvalidInput(f"the reference {params.reference!r} has no number")
        if guess is None:
            # A wrong answer, not a failure to judge it; of its error nothing can be said.
            reason = "the answer has no number"
            return Scored(status="scored", credit=0.0, passed=False, reason=reason)
        error = abs(guess - truth)
        good = error <= params.pass_absolute or error <= params.pass_relative * abs(truth)
        value = _measured(params.measure, guess, truth)
        return Scored(status="scored", value=value, credit=float(good), passed=good)

    return score


def _measured(measure: str, guess: float, truth: float) -> float:
    if (measure == "relative" and not truth) or (measure == "squared_log" and truth < 0):
        raise InvalidInput(f"{truth:g} has no {measure} error: choose another measure.")
    return _ERRORS[measure](max(guess, 0.0) if measure == "squared_log" else guess, truth)


def parse(text: str) -> float | None:
    """Return the first number of a text; thousands separators and a currency sign may be there."""
    found = _NUMBER.search(text)
    number = float(found[0].replace(",", "")) if found else math.inf
    return number if math.isfinite(number) else None
