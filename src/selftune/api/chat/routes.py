"""Answer chats."""

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.chat.wire import CreateChat, chunks_json, completion_json
from selftune.api.context import answer, body_of, context, identity
from selftune.api.routing import Router
from selftune.api.sampling import served, while_connected
from selftune.api.sse import stream
from selftune.serve.frames import SampleRequest

router = Router("/v1/chat/completions")


@router.post("")
async def create(request: Request) -> Response:
    """Answer a chat, whole or as a stream."""
    wanted = await body_of(request, CreateChat)
    wanted.check()
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    sample = SampleRequest(
        id=0,
        engine=model.engine,
        folder=model.folder,
        messages=[message.plain() for message in wanted.messages],
        sampling=wanted.fields(),
        with_tokens=wanted.stream or wanted.logprobs,
    )
    found = await while_connected(request, parts.serving.sample(sample))
    identifier, created = parts.store.ids.new("chatcmpl-"), parts.store.now()
    if wanted.stream:
        return stream(chunks_json(wanted, found, completion_id=identifier, created=created))
    return answer(completion_json(wanted, found, completion_id=identifier, created=created))
