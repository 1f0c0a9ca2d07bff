"""Evals in OpenAI's JSON, both ways."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, Field

from selftune.api.context import Storable
from selftune.api.graders.wire import known_fields, understood
from selftune.api.lists import list_json
from selftune.api.metadata import Metadata
from selftune.core.errors import InvalidInput
from selftune.core.pages import Page
from selftune.core.records import JobStatus
from selftune.evaluate.sources.create import EvalRequest, NewCriterion, RunRequest
from selftune.evaluate.sources.sampling import SEED
from selftune.store.eval_runs import Run
from selftune.store.evals import Eval
from selftune.store.output_items import ItemStatus, OutputItem

T = TypeVar("T")
Name = Annotated[Storable, Field(max_length=1000)]
STATUS: dict[JobStatus, str] = {
    "validating_files": "queued",
    "queued": "queued",
    "running": "in_progress",
    "pausing": "in_progress",
    "paused": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "canceled",
}
ITEM_STATUS: dict[str, ItemStatus] = {
    "pass": "pass",
    "passed": "pass",
    "fail": "fail",
    "failed": "fail",
    "error": "error",
    "errored": "error",
}
"""How programs ask for items; OpenAI's description has `fail` and, in its words, `failed`."""
ROLES = ("user", "assistant", "system", "developer")
_CRITERIA = ("label_model", "string_check", "text_similarity", "python", "score_model")
_NO_ERROR = {"code": "", "message": ""}
_NO_SAMPLING = {"temperature": 1.0, "max_completion_tokens": 0, "top_p": 1.0, "seed": SEED}


class Config(BaseModel):
    """What an eval's data look like."""

    type: Literal["custom", "logs", "stored_completions"]
    item_schema: dict[str, Any] | None = None
    include_sample_schema: bool | None = None
    metadata: dict[str, Any] | None = None


class CreateEval(BaseModel):
    """The body of a create."""

    name: Name | None = None
    metadata: Metadata | None = None
    data_source_config: Config
    testing_criteria: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100)]

    def request(self) -> EvalRequest:
        """Return what to create.

        Raises:
            InvalidInput: a criterion is no grader, or the config lacks its schema.

        """
        config = self.data_source_config
        _check_echo(config.item_schema, "data_source_config.item_schema")
        if config.type == "custom" and config.item_schema is None:
            raise _lacks("data_source_config.item_schema")
        criteria = [criterion_of(at, each) for at, each in enumerate(self.testing_criteria)]
        wanted = {name: str(value) for name, value in (config.metadata or {}).items()}
        return EvalRequest(
            name=self.name,
            config_type=config.type,
            item_schema=config.item_schema if config.type == "custom" else None,
            with_sample=bool(config.include_sample_schema),
            filter=wanted,
            criteria=tuple(criteria),
            metadata=self.metadata,
        )


class UpdateEval(BaseModel):
    """The body of an update."""

    name: Name | None = None
    metadata: Metadata | None = None


class CreateRun(BaseModel):
    """The body of a run's create."""

    name: Name | None = None
    metadata: Metadata | None = None
    data_source: dict[str, Any]

    def request(self) -> RunRequest:
        """Return what to create.

        Raises:
            InvalidInput: the data have what no JSON answer can have.

        """
        _check_echo(self.data_source, "data_source")
        return RunRequest(name=self.name, data_source=self.data_source, metadata=self.metadata)


def eval_json(made: Eval) -> dict[str, Any]:
    """Return an eval object."""
    return {
        "object": "eval",
        "id": made.id,
        "created_at": made.created_at,
        "name": made.name,
        "data_source_config": made.config,
        "testing_criteria": [each.shown for each in made.criteria],
        "metadata": made.metadata,
    }


def run_json(run: Run, report_url: str, *, described: bool) -> dict[str, Any]:
    """Return a run object; `described`: nothing is null that OpenAI describes as something else."""
    has_ended = run.finished_at is not None
    empty: list[Any] | None = [] if described else None
    error = None if run.error is None else {"code": run.error.code, "message": run.error.message}
    return {
        "object": "eval.run",
        "id": run.id,
        "eval_id": run.eval_id,
        "report_url": report_url,
        "status": STATUS[run.status],
        "model": run.model,
        "name": run.name,
        "created_at": run.created_at,
        "result_counts": {
            "total": run.passed + run.failed + run.errored,
            "errored": run.errored,
            "failed": run.failed,
            "passed": run.passed,
        },
        "per_model_usage": _usage(run) if has_ended else empty,
        "per_testing_criteria_results": _criteria(run) if has_ended else empty,
        "data_source": orjson.Fragment(run.data_source),
        "metadata": run.metadata,
        "error": error or (_NO_ERROR if described else None),
    }


def item_json(item: OutputItem, eval_id: str, *, described: bool) -> dict[str, Any]:
    """Return an output item."""
    content = item.content
    if described:
        sample = content["sample"]
        missing = {name: value for name, value in _NO_SAMPLING.items() if sample[name] is None}
        error = sample["error"] or _NO_ERROR
        content = content | {"sample": sample | missing | {"error": error}}
    return {
        "object": "eval.run.output_item",
        "id": item.id,
        "run_id": item.run_id,
        "eval_id": eval_id,
        "created_at": item.created_at,
        "status": item.status,
        "datasource_item_id": item.number,
        **content,
    }


def page_json(page: Page[T], shown: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """Return a list of whatever it is."""
    return list_json([shown(each) for each in page.data], has_more=page.has_more)


def _usage(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "model_name": model,
            "invocation_count": calls,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "cached_tokens": cached,
        }
        for model, (calls, prompt, completion, cached) in run.tallies.models.items()
    ]


def _criteria(run: Run) -> list[dict[str, Any]]:
    return [
        {"testing_criteria": name, "passed": passed, "failed": failed}
        for name, (passed, failed) in run.tallies.criteria.items()
    ]


def criterion_of(number: int, value: dict[str, Any]) -> NewCriterion:
    """Return a criterion whose grader was tried.

    Raises:
        InvalidInput: it is none, with `testing_criteria.…` as its parameter.

    """
    where = f"testing_criteria.{number}"
    kind = value.get("type")
    if kind not in _CRITERIA:
        raise InvalidInput(
            f"Invalid value for '{where}.type': {str(kind)!r} is not one of "
            f"{', '.join(_CRITERIA)}.",
            code="invalid_value",
            param=f"{where}.type",
        )
    value = _with_known_roles(value)
    if kind == "text_similarity" and value.get("pass_threshold") is None:
        raise _lacks(f"{where}.pass_threshold")
    try:
        understood(value)
        grader = known_fields(value)
    except InvalidInput as error:
        param = (error.param or where).replace("grader", where, 1)
        message = error.message.replace("'grader.", f"'{where}.")
        raise InvalidInput(message, code=error.code, param=param) from error
    _check_echo(value, where)
    shown = {name: found for name, found in value.items() if found is not None and name != "id"}
    return NewCriterion(shown=shown, grader=grader)


def _with_known_roles(value: dict[str, Any]) -> dict[str, Any]:
    """Return a criterion whose messages have roles that an answer may have: requests may have any."""
    messages = value.get("input")
    if not isinstance(messages, list):
        return value
    known = [
        each | {"role": "user"}
        if isinstance(each, dict) and each.get("role") not in ROLES
        else each
        for each in messages
    ]
    return value | {"input": known}


def _check_echo(value: Any, name: str) -> None:
    """Refuse what cannot be answered: numbers of any size, halves of characters, deep nesting."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(
            f"Invalid value for '{name}': it cannot be answered as JSON: {error}.",
            code="invalid_value",
            param=name,
        ) from error


def _lacks(name: str) -> InvalidInput:
    return InvalidInput(
        f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
    )
