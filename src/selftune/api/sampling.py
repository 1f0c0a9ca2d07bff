"""The sampling parameters of chat and legacy completions, checked once."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from selftune.api.context import Context
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Identity
from selftune.serve.resolve import Served, resolve

MOST_STOPS = 4
FINGERPRINT = "fp_selftune"


class SamplingFields(BaseModel):
    """What both endpoints take."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    logit_bias: dict[str, float] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return bool((self.stream_options or {}).get("include_usage"))

    def sampling(self, *, limit: int | None, top_logprobs: int) -> dict[str, Any]:
        """Return the fields of `Sampling` as the serving process takes them."""
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
            "top_logprobs": top_logprobs,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": {int(k): v for k, v in bias.items() if k.isdigit()},
        }


def served(parts: Context, caller: Identity, name: str) -> Served:
    """Return what serves a model's name; in the spec profile every name is served."""
    try:
        return resolve(parts.store, caller, name)
    except NotFound:
        if not parts.is_spec_profile:
            raise
        return Served(engine="fake", folder=None)
