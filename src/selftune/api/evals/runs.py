"""Run evals, follow the runs, and read what became of each item."""

from functools import partial
from typing import Any

from anyio import from_thread
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.archive.bring import bring_eval, bring_file
from selftune.api.archive.chats import bring_chats
from selftune.api.context import (
    Context,
    answer,
    body_of,
    context,
    identity,
    run_in_threadpool,
)
from selftune.api.creations import creation_of
from selftune.api.evals.placeholders import (
    eval_or_placeholder,
    item_or_placeholder,
    run_or_placeholder,
)
from selftune.api.evals.report import report_url
from selftune.api.evals.routes import CREATED, page_of
from selftune.api.evals.wire import (
    ITEM_STATUS,
    STATUS,
    CreateRun,
    item_json,
    page_json,
    run_json,
)
from selftune.api.routing import Router
from selftune.api.sampling import endpoint_of, served
from selftune.api.spec_profile import files_or_placeholders, tolerated
from selftune.core.errors import InvalidInput, NotFound, SelftuneError
from selftune.evaluate.sources.create import cancel_run, create_run, delete_run
from selftune.evaluate.sources.data_source import (
    DataSource,
    FileId,
    StoredCompletions,
    read_data_source,
)
from selftune.evaluate.sources.sampling import chat_words
from selftune.serve.frames import SampleRequest
from selftune.serve.resolve import Served
from selftune.store.eval_runs import Run, list_runs
from selftune.store.output_items import list_items

router = Router("/v1/evals/{eval_id}/runs")


@router.post("")
async def create(request: Request, eval_id: str) -> Response:
    """Save a run; a worker takes it."""
    wanted = await body_of(request, CreateRun)
    return await run_in_threadpool(_create, request, eval_id, wanted)


@router.get("")
def listing(request: Request, eval_id: str) -> Response:
    """Return a page of an eval's runs."""
    made = eval_or_placeholder(request, eval_id)
    wanted = request.query_params.get("status")
    statuses = tuple(ours for ours, theirs in STATUS.items() if theirs == wanted)
    if wanted is not None and not statuses:
        raise _bad_status(wanted, dict.fromkeys(STATUS.values()))
    page = list_runs(context(request).store, made.id, page_of(request), statuses)
    return answer(page_json(page, partial(_shown, request)))


@router.get("/{run_id}")
def retrieve(request: Request, eval_id: str, run_id: str) -> Response:
    """Return one run."""
    return answer(_shown(request, run_or_placeholder(request, eval_id, run_id)))


@router.post("/{run_id}")
def cancel_as_before(request: Request, eval_id: str, run_id: str) -> Response:
    """End a run, as SDKs before October 2026 ask for it."""
    return _cancel(request, eval_id, run_id)


@router.post("/{run_id}/cancel")
def cancel(request: Request, eval_id: str, run_id: str) -> Response:
    """End a run."""
    return _cancel(request, eval_id, run_id)


@router.delete("/{run_id}")
def delete(request: Request, eval_id: str, run_id: str) -> Response:
    """Delete a run and its items."""
    delete_run(context(request).store, run_or_placeholder(request, eval_id, run_id))
    return answer({"object": "eval.run.deleted", "deleted": True, "run_id": run_id})


@router.get("/{run_id}/output_items")
def items(request: Request, eval_id: str, run_id: str) -> Response:
    """Return a page of a run's items."""
    run = run_or_placeholder(request, eval_id, run_id)
    wanted = request.query_params.get("status")
    if wanted is not None and wanted not in ITEM_STATUS:
        raise _bad_status(wanted, {"fail": None, "pass": None, "error": None})
    status = None if wanted is None else ITEM_STATUS[wanted]
    page = list_items(context(request).store, run.id, page_of(request), status)
    shown = partial(item_json, eval_id=run.eval_id, described=_is_described(request))
    return answer(page_json(page, shown))


@router.get("/{run_id}/output_items/{item_id}")
def item(request: Request, eval_id: str, run_id: str, item_id: str) -> Response:
    """Return what became of one item."""
    run = run_or_placeholder(request, eval_id, run_id)
    found = item_or_placeholder(request, run, item_id)
    return answer(item_json(found, run.eval_id, described=_is_described(request)))


def _create(request: Request, eval_id: str, wanted: CreateRun) -> Response:
    bring_eval(request, eval_id)
    made = eval_or_placeholder(request, eval_id)
    checked = wanted.request()
    source = read_data_source(wanted.data_source)
    if isinstance(source.source, FileId):
        bring_file(request, source.source.id, "data_source.source.id")
        files_or_placeholders(request, source.source.id)
    elif isinstance(source.source, StoredCompletions):
        bring_chats(context(request), identity(request))
    _check_model(request, source)
    creation = creation_of(request, wanted.model_dump(mode="json"))
    store, caller = context(request).store, identity(request)
    run = create_run(store, caller, made, checked, creation)
    return answer(_shown(request, run), CREATED)


def _check_model(request: Request, source: DataSource) -> None:
    """Refuse a model that nobody here serves, or that cannot do what is asked."""
    if source.model is None or not source.is_asking:
        return
    parts = context(request)
    if endpoint_of(parts, identity(request), source.model) is not None:
        return
    try:
        model = served(parts, identity(request), source.model)
    except NotFound as unknown:
        raise InvalidInput(
            f"{unknown.message} Name its endpoint in endpoints.toml of the home folder, if another "
            "server has it.",
            code=unknown.code,
            param="data_source.model",
        ) from unknown
    form = chat_words(source).get("response_format")
    if form is not None and not parts.is_spec_profile:
        _check_form(parts, model, form)


def _check_form(parts: Context, model: Served, form: dict[str, Any]) -> None:
    """Ask a model of this machine for one token in a format: it knows what it can keep to."""
    probe = SampleRequest(
        id=0,
        engine=model.engine,
        folder=model.folder,
        messages=[{"role": "user", "content": "hello"}],
        sampling={"max_tokens": 1},
        with_tokens=False,
        response_format=form,
    )
    try:
        from_thread.run(parts.serving.sample, probe)
    except InvalidInput as error:
        raise InvalidInput(
            error.message, code=error.code, param="data_source.sampling_params"
        ) from error
    except SelftuneError:  # it is busy or away now, and need not be when the run begins
        return


def _cancel(request: Request, eval_id: str, run_id: str) -> Response:
    run = run_or_placeholder(request, eval_id, run_id)
    try:
        run = cancel_run(context(request).store, run)
    except InvalidInput as error:
        tolerated(request, error)
    return answer(_shown(request, run))


def _shown(request: Request, run: Run) -> dict[str, object]:
    return run_json(run, report_url(request, run), described=_is_described(request))


def _is_described(request: Request) -> bool:
    return context(request).store.settings.eval_empties == "described"


def _bad_status(wanted: str, known: dict[str, None]) -> InvalidInput:
    return InvalidInput(
        f"Invalid value for 'status': {wanted!r} is not one of {', '.join(known)}.",
        code="invalid_value",
        param="status",
    )
