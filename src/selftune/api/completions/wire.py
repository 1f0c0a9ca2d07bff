"""Legacy completions in OpenAI's JSON, both ways."""

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Annotated, Any

from pydantic import Field

from selftune.api.chat.wire import usage_json
from selftune.api.sampling import SamplingFields, text_of
from selftune.core.errors import InvalidInput
from selftune.serve.frames import EndPiece, FinishPiece, TokenPiece, WirePiece, WireToken

_MOST_PROMPTS = 2048
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


async def chunks_json(
    envelope: dict[str, Any],
    wanted: CreateCompletion,
    prompts: list[str],
    many: AsyncGenerator[tuple[int, list[WirePiece]], None],
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of a stream, each as soon as its piece is there."""
    if wanted.with_usage:
        envelope = envelope | {"usage": None}
    chunks = _Chunks(wanted, prompts)
    async with contextlib.aclosing(many):
        async for number, pieces in many:
            for piece in pieces:
                for choice in chunks.of(number, piece):
                    yield envelope | {"choices": [choice]}
    if wanted.with_usage:
        yield envelope | {"choices": [], "usage": usage_json(chunks.usage)}


class _Chunks:
    """What was told of each choice."""

    def __init__(self, wanted: CreateCompletion, prompts: list[str]) -> None:
        self._wanted, self._prompts = wanted, prompts
        self._told: dict[int, int] = {}
        """Characters, by the index of the choice."""
        self.usage = EndPiece(0, 0)

    def of(self, number: int, piece: WirePiece) -> Iterator[dict[str, Any]]:
        """Yield a piece of the answer to a prompt as choices."""
        if isinstance(piece, EndPiece):
            self.usage.prompt_tokens += piece.prompt_tokens
            self.usage.completion_tokens += piece.completion_tokens
            self.usage.cached_tokens += piece.cached_tokens
            return
        index = number * self._wanted.n + piece.choice
        if index not in self._told:
            echoed = self._prompts[number] if self._wanted.echo else ""
            self._told[index] = len(echoed)
            if echoed:
                yield _choice(index, echoed)
        if isinstance(piece, TokenPiece):
            offset = self._told[index]
            self._told[index] += len(piece.token.text)
            logprobs = None
            if self._wanted.logprobs is not None:
                logprobs = logprobs_json([piece.token], offset)
            yield _choice(index, piece.token.text) | {"logprobs": logprobs}
        elif isinstance(piece, FinishPiece):
            yield _choice(index, "") | {"finish_reason": piece.reason}


def _choice(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": None}


def logprobs_json(tokens: list[WireToken], offset: int) -> dict[str, Any]:
    """Return how likely tokens were, and where each begins in a text."""
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
