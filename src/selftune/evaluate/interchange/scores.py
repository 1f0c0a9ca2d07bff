"""A tool's scores -> scores here. What is no number was not scored; it is never a zero."""

import math
from collections.abc import Sequence
from typing import Any

from selftune.evaluate.results import State
from selftune.evaluate.scorer import Graded, errored

_MOST_REASON = 2_000


def score_of(
    value: Any,
    passed: bool | None = None,
    reason: Any = None,
    bounds: tuple[float, float] | None = None,
) -> Graded:
    """Return a score; without a word on passing, a score of 1 and more passes.

    Bounds are those of the tool's scale: they say what a score is worth, from 0 to 1.
    """
    text = str(reason)[:_MOST_REASON] if reason else None
    if isinstance(value, bool):
        value = float(value)
    number = _number(value)
    if number is None:
        return errored(text or "the source has no score", "other_error")
    good = number >= 1 if passed is None else passed
    return Graded(
        status="scored", value=number, credit=_worth(number, good, bounds), passed=good, reason=text
    )


def state_of(scores: Sequence[Graded]) -> State:
    """Return what became of an answer: one that was not judged by every grader is not scored."""
    if not scores or any(score.status != "scored" for score in scores):
        return "errored"
    return "scored"


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _worth(number: float, passed: bool, bounds: tuple[float, float] | None) -> float | None:
    """Return what a score is worth; None where that is the score itself."""
    if bounds is not None and bounds[0] < bounds[1]:
        share = (number - bounds[0]) / (bounds[1] - bounds[0])
        return None if bounds == (0.0, 1.0) and 0 <= number <= 1 else min(max(share, 0.0), 1.0)
    return None if 0 <= number <= 1 else float(passed)
