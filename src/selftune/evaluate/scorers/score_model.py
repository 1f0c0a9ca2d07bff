"""A model gives the answer a number, as OpenAI's grader of this name has it."""

import math
from typing import Annotated, Any

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.judging import Message, SamplingParams, ask_for, filled, object_in
from selftune.evaluate.means import NO_MEANS, Asked, Means
from selftune.evaluate.scorer import Graded, Scorer

_SCHEMA = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "description": {"type": "string"},
                    "conclusion": {"type": "string"},
                },
                "required": ["description", "conclusion"],
                "additionalProperties": False,
            },
        },
        "result": {"type": "number"},
    },
    "required": ["steps", "result"],
    "additionalProperties": False,
}


class Params(Record):
    """Which model, and what it is told."""

    name: str = "score_model"
    model: Annotated[str, Field(min_length=1)]
    input: Annotated[tuple[Message, ...], Field(min_length=1)]
    range: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] = (0.0, 1.0)
    """A score outside becomes the nearer end."""
    sampling_params: SamplingParams = SamplingParams()
    pass_threshold: float | None = None
    """Absent, the middle of the range."""


def build(params: Params) -> Scorer:
    """Make the scorer, which says that there is no model to ask."""
    return build_with(params, NO_MEANS)


def build_with(params: Params, means: Means) -> Scorer:
    """Make the scorer."""
    least, most = params.range
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise InvalidInput(
            f"The range {[least, most]} is none: the first number must be the smaller one.",
            code="invalid_value",
            param="range",
        )
    threshold = (least + most) / 2 if params.pass_threshold is None else params.pass_threshold
    task = {"role": "system", "content": _task(least, most)}

    def judged(found: float) -> Graded:
        value = min(max(found, least), most)
        credit = (value - least) / (most - least)
        passes = value >= threshold
        return Graded(status="scored", value=value, credit=credit, passed=passes)

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Graded:
        asked = Asked(
            model=params.model,
            messages=(task, *filled(params.input, item, sample)),
            sampling=params.sampling_params.words(),
            answer_schema=_SCHEMA,
        )
        return ask_for(means.ask, asked, read_score, judged)

    return score


def read_score(text: str) -> float | None:
    """Return the number of a reply: `result` of its JSON, or the whole text where it is one."""
    found = object_in(text)
    result = text.strip() if found is None else found.get("result")
    if isinstance(result, bool) or not isinstance(result, int | float | str):
        return None
    try:
        value = float(result)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _task(least: float, most: float) -> str:
    return (
        "You grade an answer. Think in steps, then give a number from "
        f"{least:g} to {most:g}. Reply with JSON only: "
        '{"steps": [{"description": "...", "conclusion": "..."}], "result": <number>}'
    )
