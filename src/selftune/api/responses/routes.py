"""Answer in the form of responses, and give back those that were stored."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.chat.elsewhere import completion_of
from selftune.api.chat.stored import usage_of
from selftune.api.chat.wire import Message, logprobs_json
from selftune.api.context import (
    answer,
    checked,
    context,
    identity,
    is_count,
    json_of,
    request_id,
    run_in_threadpool,
)
from selftune.api.lists import page_json
from selftune.api.responses.events import Delta, events_json, whole
from selftune.api.responses.items import messages_of
from selftune.api.responses.wire import (
    REFUSED,
    RESPONSE,
    CreateResponse,
    input_items_json,
    response_json,
    said,
)
from selftune.api.routing import Router
from selftune.api.sampling import served, while_connected
from selftune.api.spec_profile import completion_or_placeholder, tolerated
from selftune.api.sse import stream_events
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Usage
from selftune.serve.frames import Sampled, SampleRequest
from selftune.store.completions import (
    StoredChoice,
    StoredCompletion,
    delete_completion,
    get_completion,
    save_completion,
)

router = Router("/v1/responses")


class _Told(NamedTuple):
    """What was answered, and the pieces in which a stream tells it."""

    choice: StoredChoice
    usage: Usage | None
    deltas: Iterable[Delta] | None = None
    """None where the answer came whole."""


@router.post("")
async def create(request: Request) -> Response:
    """Answer, whole or as a stream; store it unless told not to."""
    wanted = await _wanted(request)
    parts = context(request)
    endpoint = parts.relay.find(wanted.model)
    messages = await run_in_threadpool(_messages, request, wanted)
    created = parts.store.now()
    if endpoint is None:
        told = await _told_here(request, wanted, messages)
    else:
        body = wanted.chat(messages)
        told = _of_completion(
            await while_connected(request, parts.relay.complete(endpoint, body)), wanted
        )
    kept = _answered(request, wanted, messages, told, created)
    if wanted.store:  # before the stream begins: a full disk is an error, not a cut answer
        await run_in_threadpool(save_completion, parts.store, kept)
    if wanted.stream:
        return stream_events(events_json(kept, whole(kept) if told.deltas is None else told.deltas))
    return answer(response_json(kept))


@router.get("/{response_id}")
def retrieve(request: Request, response_id: str) -> Response:
    """Return a stored response, whole or as the stream that it was."""
    found = completion_or_placeholder(request, RESPONSE, response_id)
    query = request.query_params
    if query.get("stream") != "true":
        return answer(response_json(found))
    after = query.get("starting_after", "")
    seen = int(after) if is_count(after) else -1
    events = events_json(found, whole(found))
    return stream_events(event for event in events if event["sequence_number"] > seen)


@router.delete("/{response_id}")
def delete(request: Request, response_id: str) -> Response:
    """Forget a stored response."""
    found = completion_or_placeholder(request, RESPONSE, response_id)
    delete_completion(context(request).store, found.project_id, RESPONSE, found.id)
    return answer({"id": found.id, "object": "response", "deleted": True})


@router.post("/{response_id}/cancel")
def cancel(request: Request, response_id: str) -> Response:
    """Refuse: no response is answered in the background."""
    found = completion_or_placeholder(request, RESPONSE, response_id)
    tolerated(request, InvalidInput("Cannot cancel a synchronous response."))
    return answer(response_json(found))


@router.get("/{response_id}/input_items")
def input_items(request: Request, response_id: str) -> Response:
    """Return a page of what was said to the model."""
    found = completion_or_placeholder(request, RESPONSE, response_id)
    return answer(page_json(request, input_items_json(found), "desc"))


async def _wanted(request: Request) -> CreateResponse:
    """Return the checked body; the SDKs' own tests leave out all, or say what is refused."""
    body = await json_of(request)
    if context(request).is_spec_profile:
        known = {name: value for name, value in body.items() if name not in REFUSED}
        known.pop("previous_response_id", None)
        body = {"model": "selftune/fake", "input": "a"} | known
    wanted = checked(body, CreateResponse)
    wanted.check()
    return wanted


def _messages(request: Request, wanted: CreateResponse) -> tuple[dict[str, Any], ...]:
    """Return all that the model reads."""
    messages = messages_of(wanted.input)
    if wanted.previous_response_id is not None:
        earlier = _previous(request, wanted.previous_response_id)
        messages = (*said(earlier), {"role": "assistant"} | _text_of(earlier), *messages)
    if wanted.instructions:
        messages = ({"role": "system", "content": wanted.instructions}, *messages)
    if not messages:
        raise InvalidInput(
            "Invalid value for 'input': it has no item.", code="invalid_value", param="input"
        )
    return messages


def _previous(request: Request, response_id: str) -> StoredCompletion:
    store, project_id = context(request).store, identity(request).project_id
    try:
        return get_completion(store, project_id, RESPONSE, response_id)
    except NotFound as error:
        raise InvalidInput(
            f"Previous response with id '{response_id}' not found.",
            code="previous_response_not_found",
            param="previous_response_id",
        ) from error


def _text_of(found: StoredCompletion) -> dict[str, Any]:
    refusal = found.message.get("refusal")
    if refusal:
        return {"content": [{"type": "refusal", "refusal": refusal}]}
    return {"content": found.output_text}


async def _told_here(
    request: Request, wanted: CreateResponse, messages: tuple[dict[str, Any], ...]
) -> _Told:
    wanted.check_form()
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    sample = SampleRequest(
        id=0,
        engine=model.engine,
        folder=model.folder,
        messages=[Message.model_validate(message).plain() for message in messages],
        sampling=wanted.sampling(),
        with_tokens=wanted.stream or wanted.with_logprobs,
    )
    found = await while_connected(request, parts.serving.sample(sample))
    [choice] = found.choices
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text,
        "refusal": None,
        "annotations": [],
    }
    logprobs = logprobs_json(choice.tokens) if wanted.with_logprobs else None
    return _Told(
        StoredChoice(message=message, finish_reason=choice.finish_reason, logprobs=logprobs),
        Usage(prompt_tokens=found.prompt_tokens, completion_tokens=found.completion_tokens),
        _deltas(wanted, found),
    )


def _of_completion(found: dict[str, Any], wanted: CreateResponse) -> _Told:
    """Return what another server told in a chat completion."""
    completion = completion_of(found, wanted.model, completion_id="", created=0)
    choice = {name: value for name, value in completion["choices"][0].items() if name != "index"}
    usage = completion.get("usage")
    return _Told(StoredChoice(**choice), None if usage is None else usage_of(usage))


def _answered(
    request: Request,
    wanted: CreateResponse,
    messages: tuple[dict[str, Any], ...],
    told: _Told,
    created: int,
) -> StoredCompletion:
    store = context(request).store
    return StoredCompletion(
        id=store.ids.new("resp_"),
        project_id=identity(request).project_id,
        kind=RESPONSE,
        model=wanted.model,
        created_at=created,
        metadata=wanted.metadata or {},
        messages=messages,
        choices=(told.choice,),
        usage=told.usage,
        options=wanted.options() | {"completed_at": store.now(), "request_id": request_id(request)},
    )


def _deltas(wanted: CreateResponse, found: Sampled) -> Iterable[Delta]:
    for token in found.choices[0].tokens:
        logprobs = logprobs_json([token])["content"] if wanted.with_logprobs else []
        yield token.text, logprobs
