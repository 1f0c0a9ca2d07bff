"""The legacy endpoint: a prompt instead of a chat."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.chat.wire import usage_json
from selftune.api.completions.wire import CreateCompletion, chunks_json, logprobs_json
from selftune.api.context import answer, body_of, context, identity
from selftune.api.routing import Router
from selftune.api.sampling import FINGERPRINT, served, while_connected
from selftune.api.sse import stream
from selftune.api.streams import begun, together
from selftune.serve.client import ServingClient
from selftune.serve.frames import EndPiece, Sampled, SampleRequest

router = Router("/v1/completions")
_DEFAULT_TOKENS = 16
_AT_ONCE = 32


@router.post("")
async def create(request: Request) -> Response:
    """Complete prompts, whole or as a stream."""
    wanted = await body_of(request, CreateCompletion)
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    limit = _DEFAULT_TOKENS if wanted.max_tokens is None else wanted.max_tokens
    prompts = wanted.prompts()
    sampling = wanted.sampling(limit=limit, top_logprobs=wanted.logprobs)
    samples = [
        SampleRequest(
            id=0,
            engine=model.engine,
            folder=model.folder,
            messages=[],
            sampling=sampling,
            with_tokens=wanted.logprobs is not None,
            text=prompt,
        )
        for prompt in prompts
    ]
    envelope = {
        "id": parts.store.ids.new("cmpl-"),
        "object": "text_completion",
        "created": parts.store.now(),
        "model": wanted.model,
        "system_fingerprint": FINGERPRINT,
    }
    if wanted.stream:
        many = together([parts.serving.stream(sample) for sample in samples], _AT_ONCE)
        return stream(chunks_json(envelope, wanted, prompts, await begun(request, many)))
    found = await while_connected(request, _sample_all(parts.serving, samples))
    return answer(
        envelope | {"choices": _choices(wanted, prompts, found), "usage": usage_json(_sum(found))}
    )


async def _sample_all(serving: ServingClient, samples: list[SampleRequest]) -> list[Sampled]:
    """Ask for all, so many at once that they make batches and leave room for other callers."""
    found: list[Sampled] = []
    for start in range(0, len(samples), _AT_ONCE):
        some = samples[start : start + _AT_ONCE]
        found += await asyncio.gather(*(serving.sample(sample) for sample in some))
    return found


def _choices(
    wanted: CreateCompletion, prompts: list[str], found: list[Sampled]
) -> list[dict[str, Any]]:
    answers = [
        (prompt if wanted.echo else "", choice)
        for prompt, sampled in zip(prompts, found, strict=True)
        for choice in sampled.choices
    ]
    return [
        {
            "index": index,
            "text": before + choice.text,
            "logprobs": logprobs_json(choice.tokens, len(before))
            if wanted.logprobs is not None
            else None,
            "finish_reason": choice.finish_reason,
        }
        for index, (before, choice) in enumerate(answers)
    ]


def _sum(found: list[Sampled]) -> EndPiece:
    return EndPiece(
        sum(each.prompt_tokens for each in found),
        sum(each.completion_tokens for each in found),
        sum(each.cached_tokens for each in found),
    )
