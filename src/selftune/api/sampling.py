"""What chat, legacy completions and embeddings share: parameters, names, and callers who go."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect, Request

from selftune.api.archive.bring import explained
from selftune.api.context import Context, Storable, is_count
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Identity
from selftune.models.endpoint import Endpoint
from selftune.serve.resolve import Served, resolve
from selftune.serve.upstream import upstream_endpoint

MOST_STOPS = 4
FINGERPRINT = "fp_selftune"
MOST = 2**63 - 1
"""Largest whole number that the serving process takes."""

T = TypeVar("T")


class SamplingFields(BaseModel):
    """What both endpoints take."""

    model: Annotated[Storable, Field(min_length=1, max_length=300)]
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=MOST)] | None = None
    seed: Annotated[int, Field(ge=-MOST, le=MOST)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return bool((self.stream_options or {}).get("include_usage"))

    def sampling(self, *, limit: int | None, top_logprobs: int | None) -> dict[str, Any]:
        """Return the fields of `Sampling` as the serving process takes them.

        `top_logprobs` is None where nobody asks how likely tokens were.
        """
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > MOST_STOPS:
            raise InvalidInput(
                f"Invalid 'stop': at most {MOST_STOPS} are allowed.",
                code="invalid_value",
                param="stop",
            )
        bias = self.logit_bias or {}
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "n": self.n,
            "stop": tuple(stops),
            "max_tokens": limit,
            "seed": self.seed,
            "logprobs": top_logprobs is not None,
            "top_logprobs": top_logprobs or 0,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": {int(key): value for key, value in bias.items() if is_count(key)},
        }


async def while_connected(request: Request, answering: Awaitable[T]) -> T:
    """Wait for an answer, but no longer than the caller does.

    Raises:
        ClientDisconnect: the caller has gone; what waited for the model waits no more.

    """
    work = asyncio.ensure_future(answering)
    watch = asyncio.ensure_future(_end_when_gone(request, work))
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        if watch.done():
            raise ClientDisconnect from cancelled
        work.cancel()
        raise
    finally:
        watch.cancel()


async def _end_when_gone(request: Request, work: asyncio.Future[T]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    work.cancel()


def endpoint_of(parts: Context, caller: Identity, model: str) -> Endpoint | None:
    """Return what answers for a model elsewhere; None is this server."""
    return parts.relay.find(model) or upstream_endpoint(parts.store, caller, model)


def served(parts: Context, caller: Identity, name: str) -> Served:
    """Return what serves a model's name; in the spec profile every name is served."""
    try:
        return resolve(parts.store, caller, name)
    except NotFound as unknown:
        if not parts.is_spec_profile:
            raise explained(parts, caller, name, unknown) from None
        return Served(engine="fake", folder=None)


def text_of(tokens: list[int], param: str) -> str:
    """Return the text of o200k tokens.

    Raises:
        InvalidInput: there is no such token.

    """
    from selftune.models.tokens import decode

    try:
        if any(token < 0 for token in tokens):
            raise LookupError(tokens)
        return decode(tokens)
    except LookupError as error:
        raise InvalidInput(
            f"Invalid '{param}': it has a token that o200k_base does not know.",
            code="invalid_value",
            param=param,
        ) from error
