"""Answer in the form of responses, and give back those that were stored."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.chat.elsewhere import completion_of
from selftune.api.chat.stored import usage_of
from selftune.api.chat.tools import Named, call_json
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
from selftune.api.responses.events import events_json, events_of
from selftune.api.responses.items import check_calls, joined, messages_of
from selftune.api.responses.tools import in_our_words
from selftune.api.responses.wire import (
    REFUSED,
    RESPONSE,
    CreateResponse,
    calls_of,
    input_items_json,
    response_json,
    said,
)
from selftune.api.routing import Router
from selftune.api.sampling import served, while_connected
from selftune.api.spec_profile import completion_or_placeholder, tolerated
from selftune.api.sse import each, stream_events
from selftune.api.streams import begun, kept
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Usage
from selftune.serve.frames import Sampled, SampleRequest, WirePiece
from selftune.serve.pieces import gathered
from selftune.store.completions import (
    StoredChoice,
    StoredCompletion,
    delete_completion,
    get_completion,
    save_completion,
)

router = Router("/v1/responses")


@router.post("")
async def create(request: Request) -> Response:
    """Answer, whole or as a stream; store it unless told not to."""
    wanted = await _wanted(request)
    parts = context(request)
    endpoint = parts.relay.find(wanted.model)
    messages = await run_in_threadpool(_messages, request, wanted)
    answering = _Answering(request, wanted, messages)
    if endpoint is None:
        try:
            return await _here(request, wanted, answering)
        except InvalidInput as error:
            raise in_our_words(error) from error
    found = await while_connected(
        request, parts.relay.complete(endpoint, wanted.chat(answering.messages))
    )
    completion = completion_of(found, wanted.model, completion_id="", created=0)
    choice = {name: value for name, value in completion["choices"][0].items() if name != "index"}
    usage = completion.get("usage")
    kept_ = await answering.keep(StoredChoice(**choice), None if usage is None else usage_of(usage))
    return stream_events(each(events_of(kept_))) if wanted.stream else answer(response_json(kept_))


@router.get("/{response_id}")
def retrieve(request: Request, response_id: str) -> Response:
    """Return a stored response, whole or as the stream that it was."""
    found = completion_or_placeholder(request, RESPONSE, response_id)
    query = request.query_params
    if query.get("stream") != "true":
        return answer(response_json(found))
    after = query.get("starting_after", "")
    seen = int(after) if is_count(after) else -1
    late = (event for event in events_of(found) if event["sequence_number"] > seen)
    return stream_events(each(late))


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
        messages = joined((*said(earlier), _answer_of(earlier), *messages))
    check_calls(messages)
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


def _answer_of(found: StoredCompletion) -> dict[str, Any]:
    """Return what a model answered, as the message that the next answer goes on from."""
    message: dict[str, Any] = {"role": "assistant", "content": found.output_text}
    refusal, calls = found.message.get("refusal"), calls_of(found.message)
    if refusal:
        message["content"] = [{"type": "refusal", "refusal": refusal}]
    if calls:
        message |= {"content": found.output_text or None, "tool_calls": calls}
    return message


class _Answering:
    """One response, from what is asked to what is kept of it."""

    def __init__(
        self, request: Request, wanted: CreateResponse, messages: tuple[dict[str, Any], ...]
    ) -> None:
        self._store, self._wanted = context(request).store, wanted
        self.messages = messages
        self.call_id = Named(self._store.ids.new)
        self.found: StoredCompletion | None = None
        self.blank = StoredCompletion(
            id=self._store.ids.new("resp_"),
            project_id=identity(request).project_id,
            kind=RESPONSE,
            model=wanted.model,
            created_at=self._store.now(),
            metadata=wanted.metadata or {},
            messages=messages,
            choices=(),
            options=wanted.options() | {"request_id": request_id(request)},
        )

    async def keep(self, choice: StoredChoice, usage: Usage | None) -> StoredCompletion:
        """Return the whole response; store it before it is told, if it is to be stored."""
        options = self.blank.options | {"completed_at": self._store.now()}
        answered = {"choices": (choice,), "usage": usage, "options": options}
        found = self.found = self.blank.model_copy(update=answered)
        if self._wanted.store:  # before its end is told: a full disk is an error, not a cut answer
            await run_in_threadpool(save_completion, self._store, found)
        return found

    async def keep_sampled(self, found: Sampled) -> StoredCompletion:
        """Keep what a model of this machine answered."""
        [choice] = found.choices
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if choice.calls and not choice.text else choice.text,
            "refusal": None,
            "annotations": [],
        }
        if choice.calls:
            message["tool_calls"] = [
                call_json(self.call_id(0, index), call) for index, call in enumerate(choice.calls)
            ]
        logprobs = logprobs_json(choice.tokens) if self._wanted.with_logprobs else None
        usage = Usage(
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.completion_tokens,
            cached_tokens=found.cached_tokens,
        )
        told = StoredChoice(message=message, finish_reason=choice.finish_reason, logprobs=logprobs)
        return await self.keep(told, usage)

    def whole(self) -> StoredCompletion:
        """Return the response after it was kept."""
        assert self.found is not None
        return self.found


async def _here(request: Request, wanted: CreateResponse, answering: _Answering) -> Response:
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    sample = SampleRequest(
        id=0,
        engine=model.engine,
        folder=model.folder,
        messages=[Message.model_validate(message).plain() for message in answering.messages],
        sampling=wanted.sampling(),
        with_tokens=wanted.with_logprobs,
        **wanted.form_fields().form(),
    )
    if not wanted.stream:
        found = await while_connected(request, parts.serving.sample(sample))
        return answer(response_json(await answering.keep_sampled(found)))

    async def keep(told: list[WirePiece]) -> None:
        await answering.keep_sampled(gathered(sample, told))

    frames = await begun(request, kept(parts.serving.stream(sample), keep))
    return stream_events(
        events_json(
            answering.blank,
            frames,
            answering.call_id,
            answering.whole,
            with_logprobs=wanted.with_logprobs,
        )
    )
