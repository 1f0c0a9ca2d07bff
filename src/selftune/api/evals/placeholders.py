"""Evals, runs and items that requests name; in the spec profile they are made on the spot."""

from starlette.requests import Request

from selftune.api.context import context, identity
from selftune.api.creations import creation_of
from selftune.core.errors import NotFound
from selftune.evaluate.sources.create import EvalRequest, NewCriterion, RunRequest
from selftune.evaluate.sources.create import create_eval as make_eval
from selftune.evaluate.sources.create import create_run as make_run
from selftune.evaluate.sources.data_source import read_data_source
from selftune.evaluate.sources.output import content_without_answer
from selftune.store.eval_runs import Run, Tallies, get_run
from selftune.store.evals import Eval, get_eval
from selftune.store.output_items import OutputItem, add_items, get_item

_CHECK = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "reference": "a",
    "operation": "eq",
}
_SOURCE = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {"a": "a"}}]}}


def eval_or_placeholder(request: Request, eval_id: str) -> Eval:
    """Return an eval."""
    parts, caller = context(request), identity(request)
    try:
        return get_eval(parts.store, caller.project_id, eval_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    wanted = EvalRequest(
        config_type="custom",
        item_schema={"type": "object"},
        criteria=(NewCriterion(shown=_CHECK, grader=_CHECK),),
    )
    return make_eval(parts.store, caller, wanted, creation_of(request, None))


def run_or_placeholder(request: Request, eval_id: str, run_id: str) -> Run:
    """Return a run of an eval."""
    parts, caller = context(request), identity(request)
    try:
        return get_run(parts.store, caller.project_id, eval_id, run_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    made = eval_or_placeholder(request, eval_id)
    wanted = RunRequest(data_source=_SOURCE)
    return make_run(parts.store, caller, made, wanted, creation_of(request, None))


def item_or_placeholder(request: Request, run: Run, item_id: str) -> OutputItem:
    """Return an output item of a run."""
    parts = context(request)
    try:
        return get_item(parts.store, run.id, item_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    item = OutputItem(
        id=parts.store.ids.new("outputitem_"),
        run_id=run.id,
        number=0,
        status="error",
        created_at=parts.store.now(),
        content=content_without_answer({"a": "a"}, "", read_data_source(_SOURCE)),
    )
    with parts.store.db.write() as connection:
        add_items(connection, run.id, [item], Tallies())
    return item
