"""Answer chats, and give back those that were stored."""

from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.chat.chunks import chunks_json
from selftune.api.chat.elsewhere import chunks_of, completion_of, passed_on
from selftune.api.chat.stored import CHAT, Asked, asked_of, messages_json, stored_json
from selftune.api.chat.wire import CreateChat, Told
from selftune.api.context import (
    answer,
    body_of,
    context,
    identity,
    json_of,
    limit_of,
    run_in_threadpool,
)
from selftune.api.lists import (
    DEFAULT_LIMIT,
    MOST_LISTED,
    after_of,
    list_json,
    order_of,
    page_json,
)
from selftune.api.metadata import Metadata, wanted_metadata
from selftune.api.routing import Router
from selftune.api.sampling import served, while_connected
from selftune.api.spec_profile import completion_or_placeholder
from selftune.api.sse import each, stream
from selftune.api.streams import begun, kept
from selftune.models.endpoint import Endpoint
from selftune.serve.pieces import gathered
from selftune.store.completions import (
    CompletionQuery,
    delete_completion,
    list_completions,
    save_completion,
    update_metadata,
)

router = Router("/v1/chat/completions")


class UpdateChat(BaseModel):
    """The body of a change to a stored chat."""

    metadata: Metadata


@router.post("")
async def create(request: Request) -> Response:
    """Answer a chat, whole or as a stream; store it where that is asked."""
    wanted = await body_of(request, CreateChat)
    endpoint = context(request).relay.find(wanted.model)
    asked = await asked_of(request, wanted) if wanted.store else None
    if endpoint is not None:
        return await _elsewhere(request, wanted, asked, endpoint)
    parts = context(request)
    sample = wanted.request(served(parts, identity(request), wanted.model))
    told = Told(wanted, parts.store.ids.new, parts.store.now())
    if not wanted.stream:
        found = await while_connected(request, parts.serving.sample(sample))
        whole = told.whole(found)
        await _keep(request, asked, whole)
        return answer(whole)
    frames = parts.serving.stream(sample)
    if asked is not None:
        frames = kept(
            frames, lambda all_: _keep(request, asked, told.whole(gathered(sample, all_)))
        )
    return stream(chunks_json(wanted, told, await begun(request, frames)))


@router.get("")
def listing(request: Request) -> Response:
    """Return a page of stored chats."""
    query = CompletionQuery(
        kind=CHAT,
        model=request.query_params.get("model"),
        metadata=wanted_metadata(request),
        after=after_of(request),
        limit=limit_of(request, DEFAULT_LIMIT, MOST_LISTED),
        order=order_of(request, "asc"),
    )
    page = list_completions(context(request).store, identity(request).project_id, query)
    return answer(list_json([stored_json(each) for each in page.data], has_more=page.has_more))


@router.get("/{completion_id}")
def retrieve(request: Request, completion_id: str) -> Response:
    """Return a stored chat."""
    return answer(stored_json(completion_or_placeholder(request, CHAT, completion_id)))


@router.post("/{completion_id}")
async def update(request: Request, completion_id: str) -> Response:
    """Replace a stored chat's metadata."""
    wanted = await body_of(request, UpdateChat)
    return await run_in_threadpool(_update, request, completion_id, wanted)


@router.delete("/{completion_id}")
def delete(request: Request, completion_id: str) -> Response:
    """Forget a stored chat."""
    found = completion_or_placeholder(request, CHAT, completion_id)
    delete_completion(context(request).store, found.project_id, CHAT, found.id)
    return answer({"object": "chat.completion.deleted", "id": found.id, "deleted": True})


@router.get("/{completion_id}/messages")
def messages(request: Request, completion_id: str) -> Response:
    """Return a page of what was said to the model in a stored chat."""
    found = completion_or_placeholder(request, CHAT, completion_id)
    return answer(page_json(request, messages_json(found), "asc"))


async def _elsewhere(
    request: Request, wanted: CreateChat, asked: Asked | None, endpoint: Endpoint
) -> Response:
    """Answer with what another server says."""
    parts = context(request)
    body = passed_on(await json_of(request))
    found = await while_connected(request, parts.relay.complete(endpoint, body))
    name, now = parts.store.ids.new("chatcmpl-"), parts.store.now()
    whole = completion_of(found, wanted.model, completion_id=name, created=now)
    await _keep(request, asked, whole)
    if wanted.stream:
        return stream(each(chunks_of(whole, with_usage=wanted.with_usage)))
    return answer(whole)


async def _keep(request: Request, asked: Asked | None, whole: dict[str, Any]) -> None:
    """Store an answer before it is told: a full disk is an error, not a cut answer."""
    if asked is not None:
        store = context(request).store
        await run_in_threadpool(save_completion, store, asked.answered(whole))


def _update(request: Request, completion_id: str, wanted: UpdateChat) -> Response:
    found = completion_or_placeholder(request, CHAT, completion_id)
    store = context(request).store
    changed = update_metadata(store, found.project_id, CHAT, found.id, wanted.metadata)
    return answer(stored_json(changed))
