"""OpenAI's JSON of graders, both ways."""

import time
from typing import Any, get_args

import orjson
from pydantic import BaseModel

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.evaluate import scorers
from selftune.evaluate.formula import BAD_FORMULA
from selftune.evaluate.grading import build_scorer, sample_of
from selftune.evaluate.means import NO_MEANS, Means
from selftune.evaluate.scorer import Fault, Graded, Scorer, errored, guarded

REQUIRED = {
    "string_check": ("input", "reference", "operation"),
    "text_similarity": ("input", "reference", "evaluation_metric"),
    "score_model": ("model", "input"),
    "label_model": ("model", "input", "labels", "passing_labels"),
    "python": ("source",),
    "multi": ("graders", "calculate_output"),
}
"""Types on the wire, and what each must have besides its name. Selftune's own types stay off it:
a stranger's regular expression could keep the server busy for ever."""
_DETAILED = ("python_grader_runtime_error", "model_grader_server_error")
"""Errors whose words are told as well."""


class ValidateGrader(BaseModel):
    """The body of a request to check a grader."""

    grader: dict[str, Any]


class RunGrader(BaseModel):
    """The body of a request to grade."""

    grader: dict[str, Any]
    model_sample: str
    item: dict[str, Any] | None = None
    reference_answer: Any = None
    """How the item was named before there were items."""

    def fields(self) -> dict[str, Any]:
        """Return what templates call `item`."""
        if self.item is None and self.reference_answer is not None:
            return {"reference_answer": self.reference_answer}
        return self.item or {}


def understood(grader: dict[str, Any], means: Means = NO_MEANS) -> Scorer:
    """Return the scorer that OpenAI's JSON describes.

    Raises:
        InvalidInput: it is not a grader, with OpenAI's code and `grader.…` as its parameter.

    """
    try:
        if not isinstance(grader.get("name"), str):
            raise _lacks("name")
        return build_scorer(known_fields(grader), means)
    except InvalidInput as error:
        param = "grader" if error.param is None else f"grader.{error.param}"
        raise InvalidInput(error.message, code=error.code, param=param) from error


def validated_json(wanted: ValidateGrader) -> dict[str, Any]:
    """Return a grader as it came.

    Raises:
        InvalidInput: it is not a grader, or has what no JSON answer can have.

    """
    understood(wanted.grader)
    try:
        orjson.dumps(wanted.grader)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(
            f"The grader cannot be answered as JSON: {error}.", code="invalid_value", param="grader"
        ) from error
    return {"grader": wanted.grader}


def run_json(wanted: RunGrader, means: Means) -> dict[str, Any]:
    """Grade one answer; return what OpenAI's endpoint answers.

    Raises:
        InvalidInput: the grader is not one. A formula that cannot be read is no such error: the
            answer has a flag for it.

    """
    started = time.perf_counter()
    try:
        scorer = understood(wanted.grader, means)
    except InvalidInput as error:
        if error.code != BAD_FORMULA:
            raise
        outcome = errored(error.message, "formula_parse_error")
    else:
        outcome = guarded(scorer, wanted.fields(), sample_of(wanted.model_sample))
    return _outcome_json(wanted.grader, outcome, time.perf_counter() - started)


def known_fields(grader: dict[str, Any]) -> dict[str, Any]:
    """Return a grader without what is null or unknown, as OpenAI ignores it.

    Raises:
        InvalidInput: it has no type that is known, or lacks a field.

    """
    kind = grader.get("type")
    if not isinstance(kind, str) or kind not in REQUIRED:
        raise InvalidInput(
            f"Invalid grader type {kind!r}: it must be one of {', '.join(REQUIRED)}.",
            code="invalid_value",
            param="type",
        )
    given = {name: value for name, value in grader.items() if value is not None}
    for name in REQUIRED[kind]:
        if name not in given:
            raise _lacks(name)
    fields = plugins.load(scorers, kind).Params.model_fields
    kept = {name: value for name, value in given.items() if name in fields or name == "type"}
    if kind == "multi":
        kept["graders"] = _known_inside(kept["graders"])
    if isinstance(kept.get("sampling_params"), dict):
        known = fields["sampling_params"].annotation.model_fields
        kept["sampling_params"] = {k: v for k, v in kept["sampling_params"].items() if k in known}
    return kept


def _known_inside(graders: Any) -> Any:
    if isinstance(graders, list):
        return [known_fields(each) if isinstance(each, dict) else each for each in graders]
    if not isinstance(graders, dict):
        return graders
    if isinstance(graders.get("type"), str):
        return known_fields(graders)
    return {name: known_fields(g) if isinstance(g, dict) else g for name, g in graders.items()}


def _lacks(name: str) -> InvalidInput:
    return InvalidInput(
        f"Missing required parameter: 'grader.{name}'.",
        code="missing_required_parameter",
        param=name,
    )


def _outcome_json(grader: dict[str, Any], outcome: Graded, seconds: float) -> dict[str, Any]:
    usage = _usage(outcome)
    rewards = {name: _reward(part) for name, part in outcome.parts.items()}
    return {
        "reward": _reward(outcome),
        "metadata": {
            "name": grader["name"],
            "type": grader["type"],
            "errors": _errors_json(outcome),
            "execution_time": seconds,
            "scores": rewards or {grader["name"]: _reward(outcome)},
            "token_usage": sum(u.total_tokens for u in usage.values()) if usage else None,
            "sampled_model_name": outcome.spent[0].model if outcome.spent else None,
        },
        "sub_rewards": rewards,
        "model_grader_token_usage_per_model": {
            model: used.model_dump() | {"total_tokens": used.total_tokens, "cached_tokens": 0}
            for model, used in usage.items()
        },
    }


def _reward(outcome: Graded) -> float:
    """Return the score; what could not be scored rewards nothing, and a flag says so."""
    return 0.0 if outcome.value is None else outcome.value


def _errors_json(outcome: Graded) -> dict[str, Any]:
    """Return every flag; those of a formula's graders count too."""
    faults = {each.fault: each.reason for each in (*outcome.parts.values(), outcome) if each.fault}
    flags: dict[str, Any] = {fault: fault in faults for fault in get_args(Fault)}
    details = {
        f"{fault}_details": faults.get(fault) for fault in get_args(Fault) if fault in _DETAILED
    }
    return flags | details | {"python_grader_server_error_type": _server_error_type(flags)}


def _server_error_type(flags: dict[str, Any]) -> str | None:
    return "sandbox_unavailable" if flags["python_grader_server_error"] else None


def _usage(outcome: Graded) -> dict[str, Usage]:
    """Return the tokens of each model that judged."""
    found: dict[str, Usage] = {}
    for spent in outcome.spent:
        before = found.get(spent.model, Usage(prompt_tokens=0, completion_tokens=0))
        found[spent.model] = Usage(
            prompt_tokens=before.prompt_tokens + spent.usage.prompt_tokens,
            completion_tokens=before.completion_tokens + spent.usage.completion_tokens,
        )
    return found
