"""Create, list, read and cancel batches."""

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.archive.bring import bring_file
from selftune.api.batches.wire import CreateBatch, batch_json
from selftune.api.context import (
    answer,
    body_of,
    context,
    identity,
    limit_of,
    run_in_threadpool,
)
from selftune.api.creations import creation_of
from selftune.api.lists import DEFAULT_LIMIT, MOST_LISTED, after_of, list_json
from selftune.api.routing import Router
from selftune.core.errors import NotFound
from selftune.serve.batches.create import BatchRequest, cancel_batch, create_batch
from selftune.store.batches import Batch, get_batch, list_batches

router = Router("/v1/batches")


@router.post("")
async def create(request: Request) -> Response:
    """Save a batch; a worker takes it."""
    wanted = await body_of(request, CreateBatch)
    return await run_in_threadpool(_create, request, wanted)


@router.get("")
def listing(request: Request) -> Response:
    """Return a page of batches, newest first."""
    page = list_batches(
        context(request).store,
        identity(request).project_id,
        after=after_of(request),
        limit=limit_of(request, DEFAULT_LIMIT, MOST_LISTED),
    )
    return answer(list_json([batch_json(each) for each in page.data], has_more=page.has_more))


@router.get("/{batch_id}")
def retrieve(request: Request, batch_id: str) -> Response:
    """Return one batch."""
    return answer(batch_json(_batch_or_placeholder(request, batch_id)))


@router.post("/{batch_id}/cancel")
def cancel(request: Request, batch_id: str) -> Response:
    """End a batch; what was answered is kept."""
    found = _batch_or_placeholder(request, batch_id)
    return answer(batch_json(cancel_batch(context(request).store, found)))


def _create(request: Request, wanted: CreateBatch) -> Response:
    checked = wanted.request()
    bring_file(request, checked.input_file_id, "input_file_id")
    creation = creation_of(request, wanted.model_dump(mode="json"))
    made = create_batch(context(request).store, identity(request), checked, creation)
    return answer(batch_json(made))


def _batch_or_placeholder(request: Request, batch_id: str) -> Batch:
    """Return a batch; in the spec profile it is made on the spot."""
    parts, caller = context(request), identity(request)
    try:
        return get_batch(parts.store, caller.project_id, batch_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    wanted = BatchRequest(input_file_id="file-abc123", endpoint="/v1/responses")
    return create_batch(parts.store, caller, wanted, creation_of(request, None))
