"""Whether an answer calls what the reference calls; where nothing is called, another grader judges."""

from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.grading import build_scorer
from selftune.evaluate.means import NO_MEANS, Means
from selftune.evaluate.scorer import Scorer, passed
from selftune.models.messages import calls_text, plain_json

_NESTING = {"graders", "otherwise"}
"""Fields that hold graders: one inside the other could go on for ever."""


class Params(Record):
    """Which calls, and what judges answers in words."""

    name: str = "same_calls"
    reference: str
    """Template of the right calls, one a line: the name, then the arguments as JSON. Empty: none."""
    otherwise: dict[str, Any] | None = None
    """Grader of answers to items whose reference calls nothing; absent, not to call is enough."""


def build(params: Params) -> Scorer:
    """Make the scorer; another grader that asks a model says that none is there."""
    return build_with(params, NO_MEANS)


def build_with(params: Params, means: Means) -> Scorer:
    """Make the scorer; it reads `sample.output_tools`."""
    if params.otherwise is not None and _NESTING & params.otherwise.keys():
        raise InvalidInput(
            "The same_calls grader is not valid: 'otherwise' holds graders itself. Name a plain one.",
            code="invalid_value",
            param="otherwise",
        )
    otherwise = None if params.otherwise is None else build_scorer(params.otherwise, means)

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        wanted = [_plain(line) for line in fill(params.reference, item, sample).splitlines()]
        called = calls_text({"tool_calls": sample.get("output_tools")}).splitlines()
        if wanted or called or otherwise is None:
            return passed(float(wanted == called))
        return otherwise(item, sample)

    return score


def _plain(line: str) -> str:
    name, _, arguments = line.strip().partition(" ")
    return f"{name} {plain_json(arguments)}"
