"""What a scorer is: it judges one answer, and a failure to judge is not a bad answer.

A scorer's module has `build(params)`. One that asks a model, or makes vectors, has also
`build_with(params, means)`, which `evaluate/grading.py` prefers.
"""

from typing import Any, Literal, Protocol

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored, Usage
from selftune.core.templates import MISSING_VARIABLE

Fault = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""Why there is no score, in OpenAI's words."""


class Spent(Record):
    """What a model that judged has used."""

    model: str
    usage: Usage


class Graded(Scored):
    """An outcome with what led to it."""

    fault: Fault | None = None
    """Why it is errored."""
    parts: dict[str, "Graded"] = Field(default_factory=dict)
    """Outcomes of the graders that a formula put together."""
    spent: tuple[Spent, ...] = ()


class Scorer(Protocol):
    """Judges one sampled answer against its item."""

    def __call__(self, item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        """Return the score; `sample` has `output_text`."""
        ...


def guarded(scorer: Scorer, item: dict[str, Any], sample: dict[str, Any]) -> Graded:
    """Score, turning a template or item that cannot be read into `errored`, never into zero."""
    try:
        found = scorer(item, sample)
    except InvalidInput as error:
        is_missing = error.code == MISSING_VARIABLE
        return errored(error.message, "invalid_variable_error" if is_missing else "other_error")
    return found if isinstance(found, Graded) else Graded(**found.model_dump())


def errored(reason: str, fault: Fault, spent: tuple[Spent, ...] = ()) -> Graded:
    """Return that there is no score, and why."""
    return Graded(status="errored", reason=reason, fault=fault, spent=spent)


def passed(value: float, *, threshold: float = 1.0) -> Scored:
    """Return a score that passes from a threshold on."""
    return Scored(status="scored", value=value, passed=value >= threshold)
