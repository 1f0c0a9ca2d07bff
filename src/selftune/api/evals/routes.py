"""Create, list, read, change and delete evals."""

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import (
    answer,
    body_of,
    context,
    identity,
    limit_of,
    run_in_threadpool,
)
from selftune.api.creations import creation_of
from selftune.api.evals.placeholders import eval_or_placeholder
from selftune.api.evals.wire import CreateEval, UpdateEval, eval_json, page_json
from selftune.api.lists import DEFAULT_LIMIT, MOST_LISTED, after_of, order_of
from selftune.api.routing import Router
from selftune.evaluate.sources.create import create_eval, delete_eval
from selftune.store.evals import list_evals, update_eval
from selftune.store.paging import PageQuery

router = Router("/v1/evals")
CREATED = 201


@router.post("")
async def create(request: Request) -> Response:
    """Save an eval."""
    wanted = await body_of(request, CreateEval)
    return await run_in_threadpool(_create, request, wanted)


@router.get("")
def listing(request: Request) -> Response:
    """Return a page of evals."""
    page = list_evals(
        context(request).store,
        identity(request).project_id,
        page_of(request),
        by_update=request.query_params.get("order_by") == "updated_at",
    )
    return answer(page_json(page, eval_json))


@router.get("/{eval_id}")
def retrieve(request: Request, eval_id: str) -> Response:
    """Return one eval."""
    return answer(eval_json(eval_or_placeholder(request, eval_id)))


@router.post("/{eval_id}")
async def update(request: Request, eval_id: str) -> Response:
    """Rename an eval, or replace its metadata."""
    wanted = await body_of(request, UpdateEval)
    return await run_in_threadpool(_update, request, eval_id, wanted)


@router.delete("/{eval_id}")
def delete(request: Request, eval_id: str) -> Response:
    """Delete an eval, its runs and their items."""
    delete_eval(context(request).store, eval_or_placeholder(request, eval_id))
    return answer({"object": "eval.deleted", "deleted": True, "eval_id": eval_id})


def page_of(request: Request) -> PageQuery:
    """Return which page is wanted."""
    return PageQuery(
        after=after_of(request),
        limit=limit_of(request, DEFAULT_LIMIT, MOST_LISTED),
        order=order_of(request, "asc"),
    )


def _create(request: Request, wanted: CreateEval) -> Response:
    checked = wanted.request()
    creation = creation_of(request, wanted.model_dump(mode="json"))
    store, caller = context(request).store, identity(request)
    return answer(eval_json(create_eval(store, caller, checked, creation)), CREATED)


def _update(request: Request, eval_id: str, wanted: UpdateEval) -> Response:
    made = eval_or_placeholder(request, eval_id)
    store = context(request).store
    changed = update_eval(
        store, made.project_id, made.id, name=wanted.name, metadata=wanted.metadata
    )
    return answer(eval_json(changed))
