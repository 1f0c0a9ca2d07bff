"""Chat completions in OpenAI's JSON, both ways."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from selftune.api.context import Storable
from selftune.api.metadata import Metadata
from selftune.api.sampling import FINGERPRINT, MOST, SamplingFields
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.serve.frames import Sampled, WireChoice, WireToken

NEVER = -9999.0
_COMPLETION_DETAILS = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}


class Part(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class Message(BaseModel):
    """One message of the chat."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return the message as samplers take it: role and text."""
        if isinstance(self.content, list):
            unreadable = [part.type for part in self.content if part.text is None]
            if unreadable and self.role == "user":
                raise InvalidInput(
                    f"This model reads text only: it cannot take a part of type {unreadable[0]!r}.",
                    code="unsupported_value",
                    param="messages",
                )
            text = "".join(part.text or "" for part in self.content)
        else:
            text = self.content or ""
        return {"role": self.role, "content": text}


class CreateChat(SamplingFields):
    """The body of a chat completion."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=0, le=MOST)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    response_format: dict[str, Any] | None = None
    tool_choice: Any = None
    store: bool = False
    metadata: Metadata | None = None
    user: Storable | None = None

    def check(self) -> None:
        """Refuse what the model could not keep its word on."""
        form = (self.response_format or {}).get("type", "text")
        if form != "text":
            raise InvalidInput(
                f"This model cannot guarantee response_format '{form}': train it on answers of "
                "that form, and ask without response_format.",
                code="unsupported_value",
                param="response_format",
            )
        if self.tool_choice not in (None, "none", "auto"):
            raise InvalidInput(
                "This model does not call tools: tool_choice must be 'none' or 'auto'.",
                code="unsupported_value",
                param="tool_choice",
            )
        if self.top_logprobs and not self.logprobs:
            raise InvalidInput(
                "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
                code="invalid_value",
                param="top_logprobs",
            )

    def fields(self) -> dict[str, Any]:
        """Return the sampling parameters."""
        limit = self.max_completion_tokens
        limit = self.max_tokens if limit is None else limit
        return self.sampling(limit=limit, top_logprobs=self.top_logprobs)


def completion_json(
    wanted: CreateChat, found: Sampled, *, completion_id: str, created: int
) -> dict[str, Any]:
    """Return a chat completion."""
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": choice.text,
                "refusal": None,
                "annotations": [],
            },
            "logprobs": logprobs_json(choice.tokens) if wanted.logprobs else None,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(found.choices)
    ]
    return _envelope("chat.completion", completion_id, created, wanted.model) | {
        "choices": choices,
        "usage": usage_json(found),
    }


def chunks_json(
    wanted: CreateChat, found: Sampled, *, completion_id: str, created: int
) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a stream."""
    envelope = _envelope("chat.completion.chunk", completion_id, created, wanted.model)
    if wanted.with_usage:
        envelope["usage"] = None
    for index, choice in enumerate(found.choices):
        first = {"role": "assistant", "content": "", "refusal": None}
        yield envelope | {"choices": [_delta(index, first)]}
        for token, text in _with_text(choice):
            logprobs = logprobs_json([token]) if wanted.logprobs else None
            yield envelope | {"choices": [_delta(index, {"content": text}, logprobs)]}
        yield envelope | {"choices": [_delta(index, {}, None, choice.finish_reason)]}
    if wanted.with_usage:
        yield envelope | {"choices": [], "usage": usage_json(found)}


def usage_json(found: Sampled | Usage) -> dict[str, Any]:
    """Return the tokens of an answer."""
    cached = found.cached_tokens if isinstance(found, Usage) else 0
    return {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "total_tokens": found.prompt_tokens + found.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": _COMPLETION_DETAILS,
    }


def _with_text(choice: WireChoice) -> Iterator[tuple[WireToken, str]]:
    for token in choice.tokens:
        yield token, token.text


def _delta(
    index: int,
    delta: dict[str, Any],
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def logprobs_json(tokens: list[WireToken]) -> dict[str, Any]:
    """Return how likely tokens were."""
    content = [
        {
            "token": token.text,
            "bytes": token.bytes,
            "logprob": token.logprob,
            "top_logprobs": [
                {"token": text, "bytes": raw, "logprob": value} for text, raw, value in token.top
            ],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _envelope(kind: str, completion_id: str, created: int, model: str) -> dict[str, Any]:
    return {
        "id": completion_id,
        "object": kind,
        "created": created,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
