"""The legacy endpoint: a prompt instead of a chat."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.chat.wire import usage_json
from selftune.api.context import answer, body_of, context, identity
from selftune.api.routing import Router
from selftune.api.sampling import FINGERPRINT, SamplingFields, served, text_of, while_connected
from selftune.api.sse import stream
from selftune.core.errors import InvalidInput
from selftune.serve.client import ServingClient
from selftune.serve.frames import Sampled, SampleRequest, WireChoice, WireToken

router = Router("/v1/completions")
_MOST_PROMPTS = 2048
_DEFAULT_TOKENS = 16
_AT_ONCE = 32
Prompt = str | list[str] | list[int] | list[list[int]]


class CreateCompletion(SamplingFields):
    """The body of a legacy completion."""

    prompt: Prompt = ""
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    def prompts(self) -> list[str]:
        """Return the prompts as texts; tokens are o200k."""
        found = self.prompt
        if isinstance(found, str):
            return [found]
        if len(found) > _MOST_PROMPTS:
            raise InvalidInput(f"At most {_MOST_PROMPTS} prompts are allowed.", param="prompt")
        if all(isinstance(each, int) for each in found):
            found = [[each for each in found if isinstance(each, int)]]
        return [each if isinstance(each, str) else text_of(each, "prompt") for each in found]  # type: ignore[arg-type]  # lists of ints are left


@router.post("")
async def create(request: Request) -> Response:
    """Complete prompts, whole or as a stream."""
    wanted = await body_of(request, CreateCompletion)
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    limit = _DEFAULT_TOKENS if wanted.max_tokens is None else wanted.max_tokens
    prompts = wanted.prompts()
    sampling = wanted.sampling(limit=limit, top_logprobs=wanted.logprobs or 0)
    samples = [
        SampleRequest(
            id=0,
            engine=model.engine,
            folder=model.folder,
            messages=[{"role": "user", "content": prompt}],
            sampling=sampling,
            with_tokens=wanted.stream or wanted.logprobs is not None,
        )
        for prompt in prompts
    ]
    found = await while_connected(request, _sample_all(parts.serving, samples))
    identifier, created = parts.store.ids.new("cmpl-"), parts.store.now()
    envelope = {
        "id": identifier,
        "object": "text_completion",
        "created": created,
        "model": wanted.model,
        "system_fingerprint": FINGERPRINT,
    }
    if wanted.stream:
        return stream(_chunks(envelope, wanted, prompts, found))
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
            "logprobs": _logprobs(choice.tokens, len(before))
            if wanted.logprobs is not None
            else None,
            "finish_reason": choice.finish_reason,
        }
        for index, (before, choice) in enumerate(answers)
    ]


def _chunks(
    envelope: dict[str, Any], wanted: CreateCompletion, prompts: list[str], found: list[Sampled]
) -> Iterator[dict[str, Any]]:
    index = 0
    if wanted.with_usage:
        envelope = envelope | {"usage": None}
    for prompt, sampled in zip(prompts, found, strict=True):
        for choice in sampled.choices:
            for text, logprobs in _pieces(wanted, prompt, choice):
                piece = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}
                yield envelope | {"choices": [piece]}
            last = {"index": index, "text": "", "logprobs": None}
            yield envelope | {"choices": [last | {"finish_reason": choice.finish_reason}]}
            index += 1
    if wanted.with_usage:
        yield envelope | {"choices": [], "usage": usage_json(_sum(found))}


def _pieces(
    wanted: CreateCompletion, prompt: str, choice: WireChoice
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield an answer's texts, each with its log-probabilities where they are wanted."""
    offset = 0
    if wanted.echo:
        yield prompt, None
        offset = len(prompt)
    for token in choice.tokens:
        logprobs = _logprobs([token], offset) if wanted.logprobs is not None else None
        yield token.text, logprobs
        offset += len(token.text)


def _logprobs(tokens: list[WireToken], offset: int) -> dict[str, Any]:
    offsets, at = [], offset
    for token in tokens:
        offsets.append(at)
        at += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{text: value for text, _, value in token.top} for token in tokens],
        "text_offset": offsets,
    }


def _sum(found: list[Sampled]) -> Sampled:
    prompt = sum(each.prompt_tokens for each in found)
    return Sampled(0, [], prompt, sum(each.completion_tokens for each in found))
