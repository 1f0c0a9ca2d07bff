"""What a scorer is: it judges one answer, and a failure to judge is not a bad answer.

A scorer's module has `build(params)`. One that asks a model, or makes vectors, has also
`build_with(params, means)`, which `evaluate/grading.py` prefers.
"""

import logging
from typing import Any, Literal, Protocol

from pydantic import Field

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.records import Record, Scored, Usage
from selftune.core.templates import MISSING_VARIABLE

_log = logging.getLogger(__name__)
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
    """Score, turning what cannot be judged into `errored`, never into zero.

    A fault in a scorer is no reason to throw away what all others say, nor what was paid for.
    """
    try:
        found = scorer(item, sample)
    except InvalidInput as error:
        is_missing = error.code == MISSING_VARIABLE
        return errored(error.message, "invalid_variable_error" if is_missing else "other_error")
    except SelftuneError as error:
        return errored(error.message, "other_error")
    except Exception as error:  # noqa: BLE001 - a scorer may be anybody's
        _log.debug("a grader failed", exc_info=True)
        return errored(f"the grader failed: {type(error).__name__}: {error}", "other_error")
    return found if isinstance(found, Graded) else Graded(**found.model_dump())


def errored(reason: str, fault: Fault, spent: tuple[Spent, ...] = ()) -> Graded:
    """Return that there is no score, and why."""
    return Graded(status="errored", reason=reason, fault=fault, spent=spent)


def passed(value: float, *, threshold: float = 1.0) -> Scored:
    """Return a score that passes from a threshold on."""
    return Scored(status="scored", value=value, passed=value >= threshold)
