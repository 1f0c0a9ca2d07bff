"""A result -> what OpenAI's output items say of it."""

import math
from typing import Any

from selftune.core.records import Usage
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.scorer import Graded
from selftune.evaluate.sources.data_source import DataSource
from selftune.evaluate.sources.sampling import SEED
from selftune.models.messages import content_text
from selftune.store.evals import Criterion
from selftune.store.output_items import ItemStatus

_FINISH = {"cut": "length", "refused": "content_filter"}
_NO_USAGE = {"total_tokens": 0, "completion_tokens": 0, "prompt_tokens": 0, "cached_tokens": 0}


def status_of(result: Result) -> ItemStatus:
    """Return whether an item passed; what could not be judged neither passed nor failed."""
    if result.state != "scored":
        return "error"
    return "pass" if result.passed else "fail"


def content_of(
    result: Result, item: Item, source: DataSource, criteria: tuple[Criterion, ...]
) -> dict[str, Any]:
    """Return an output item's own fields."""
    scores = zip(criteria, result.scores, strict=False)  # there is none without an answer
    error = None
    if result.state == "unanswered":
        error = {"code": result.finish, "message": result.reason or "No answer came."}
    said = _given(item) if item.given is not None else _said(result, source)
    return {
        "datasource_item": item.item,
        "results": [_result(criterion, score) for criterion, score in scores],
        "sample": {
            "input": [_message(message) for message in item.messages],
            **said,
            "error": error,
            **_sampling(source),
        },
    }


def content_without_answer(row: dict[str, Any], problem: str, source: DataSource) -> dict[str, Any]:
    """Return the fields of a row that nobody could be asked about."""
    return {
        "datasource_item": row,
        "results": [],
        "sample": {
            "input": [],
            "output": [],
            "finish_reason": "error",
            "model": source.model or "",
            "usage": _NO_USAGE,
            "error": {"code": "invalid_item", "message": problem},
            **_sampling(source),
        },
    }


def usage_json(usage: Usage | None) -> dict[str, int]:
    """Return tokens as output items write them."""
    if usage is None:
        return _NO_USAGE
    return {"total_tokens": usage.total_tokens, **usage.model_dump()}


def _said(result: Result, source: DataSource) -> dict[str, Any]:
    calls = result.message.get("tool_calls")
    output: list[dict[str, Any]] = []
    if result.state != "unanswered":
        text = result.output or str(result.message.get("refusal") or "")
        output = [{"role": "assistant", "content": text}]
    if calls:
        output[0]["tool_calls"] = calls
    finish = "error" if result.state == "unanswered" else _FINISH.get(result.finish, "stop")
    return {
        "output": output,
        "finish_reason": "tool_calls" if calls and finish == "stop" else finish,
        "model": result.model or source.model or "",
        "usage": usage_json(result.usage),
    }


def _given(item: Item) -> dict[str, Any]:
    """Return what the data says of an answer."""
    sample = item.given or {}
    choices = sample.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    finish = sample.get("finish_reason") or (
        first.get("finish_reason") if isinstance(first, dict) else None
    )
    used = sample.get("usage")
    usage = {
        name: value
        for name, value in (used.items() if isinstance(used, dict) else ())
        if name in _NO_USAGE and isinstance(value, int)
    }
    usage = _NO_USAGE | usage
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    message: dict[str, Any] = {"role": "assistant", "content": str(sample.get("output_text") or "")}
    if sample.get("output_tools"):
        message["tool_calls"] = sample["output_tools"]
    return {
        "output": [message],
        "finish_reason": str(finish or "stop"),
        "model": str(sample.get("model") or ""),
        "usage": usage,
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    shown = {"role": str(message.get("role")), "content": content_text(message)}
    calls = message.get("tool_calls")
    return shown | {"tool_calls": calls} if calls else shown


def _sampling(source: DataSource) -> dict[str, Any]:
    """Return what was asked for; None is what nothing was said about."""
    params = source.sampling_params
    default = source.is_asking
    return {
        "temperature": params.temperature,
        "max_completion_tokens": params.limit,
        "top_p": params.top_p,
        "seed": SEED if default and params.seed is None else params.seed,
    }


def _result(criterion: Criterion, score: Graded) -> dict[str, Any]:
    value = score.value if score.value is not None and math.isfinite(score.value) else None
    return {
        "name": criterion.id,
        "type": criterion.grader["type"],
        "score": 0.0 if value is None else value,
        "passed": bool(score.passed),
        "sample": _grader_sample(score),
    }


def _grader_sample(score: Graded) -> dict[str, Any] | None:
    """Return what a grader's model said and used, or why there is no score."""
    if score.status == "errored":
        error = {"code": score.fault or "other_error", "message": score.reason or ""}
        return {"error": error, **_spent(score)}
    if not score.spent:
        return None
    output = [{"role": "assistant", "content": score.reason}] if score.reason else []
    return {"output": output, "error": None, **_spent(score)}


def _spent(score: Graded) -> dict[str, Any]:
    if not score.spent:
        return {}
    first = score.spent[0]
    return {"model": first.model, "usage": usage_json(first.usage)}
