"""Graders on the wire ask the models that this server serves, or names an endpoint of.

Graders run in a thread, the connection to the serving process lives in the loop.
"""

import struct
from collections.abc import Sequence
from functools import partial

from anyio import from_thread

from selftune.api.context import Context
from selftune.api.sampling import endpoint_of, served
from selftune.core.errors import InvalidInput
from selftune.core.records import Identity, Usage
from selftune.evaluate.endpoints import asker
from selftune.evaluate.means import Asked, Means, Reply
from selftune.models.asking import Limits
from selftune.serve.frames import EmbedRequest, SampleRequest
from selftune.store.models import unknown_model

_EMBEDDING = "text-embedding-3-large"
"""OpenAI's `cosine` embeds with it; here the name stands for the embedded encoder."""
_FLOAT_BYTES = 4
_LIMITS = Limits(attempts=3, longest_wait_seconds=5.0)
"""A caller waits for the answer."""


def served_means(parts: Context, caller: Identity) -> Means:
    """Return how a caller's graders ask models and embed texts."""
    return Means(ask=partial(_ask, parts, caller), embed=partial(_embed, parts, caller))


def _ask(parts: Context, caller: Identity, asked: Asked) -> Reply:
    if "\0" in asked.model:  # Postgres has no such character
        raise unknown_model(asked.model)
    endpoint = endpoint_of(parts, caller, asked.model)
    if endpoint is not None:
        return asker(endpoint, _LIMITS)(asked)
    model = served(parts, caller, asked.model)
    if not all(isinstance(message["content"], str) for message in asked.messages):
        raise InvalidInput(f"The model {asked.model!r} reads text, not images or sound.")
    sampling = dict(asked.sampling)
    sampling.pop("reasoning_effort", None)
    limit = sampling.pop("max_completion_tokens", None)
    request = SampleRequest(
        id=0,
        engine=model.engine,
        folder=model.folder,
        messages=list(asked.messages),
        sampling={"temperature": 0.0, **sampling, "max_tokens": limit},
        with_tokens=False,
    )
    found = from_thread.run(parts.serving.sample, request)
    usage = Usage(prompt_tokens=found.prompt_tokens, completion_tokens=found.completion_tokens)
    [choice] = found.choices
    is_cut = choice.finish_reason == "length"
    return Reply(text=choice.text, model=asked.model, usage=usage, is_cut=is_cut)


def _embed(parts: Context, caller: Identity, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    model = served(parts, caller, _EMBEDDING)
    request = EmbedRequest(id=0, engine=model.engine, folder=model.folder, texts=list(texts))
    found = from_thread.run(parts.serving.embed, request)
    width = len(found.vectors) // _FLOAT_BYTES // found.count
    return list(struct.iter_unpack(f"<{width}f", found.vectors))
