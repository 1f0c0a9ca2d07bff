"""Chat completions in OpenAI's JSON, both ways."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from selftune.api.chat.tools import FormFields, Named, NewId, call_json, function_json
from selftune.api.context import Storable
from selftune.api.metadata import Metadata
from selftune.api.sampling import FINGERPRINT, MOST, SamplingFields
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.serve.frames import EndPiece, Sampled, SampleRequest, WireChoice, WireToken
from selftune.serve.resolve import Served

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


class _CalledFunction(BaseModel):
    name: str
    arguments: str


class _Call(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: _CalledFunction


_CALLS = TypeAdapter(list[_Call])
_FUNCTION = TypeAdapter(_CalledFunction)


class Message(BaseModel):
    """One message of the chat."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: Any = None
    tool_call_id: str | None = None
    function_call: Any = None

    def plain(self) -> dict[str, Any]:
        """Return the message as samplers take it: with one text, and with what was called.

        Raises:
            InvalidInput: it has what no model here reads.

        """
        is_call = bool(self.tool_calls or self.function_call)
        text = None if is_call and self.content is None else self._text()
        found: dict[str, Any] = {"role": self.role, "content": text}
        try:
            if self.tool_calls:
                calls = _CALLS.validate_python(self.tool_calls)
                found["tool_calls"] = [call.model_dump() for call in calls]
            if self.function_call:
                called = _FUNCTION.validate_python(self.function_call)
                found["function_call"] = called.model_dump()
        except ValidationError as error:
            raise InvalidInput(
                "Invalid value for 'messages': a call needs an id and a function with a name and "
                "arguments, all texts.",
                code="invalid_value",
                param="messages",
            ) from error
        given = {"name": self.name, "tool_call_id": self.tool_call_id}
        found |= {name: value for name, value in given.items() if value is not None}
        return found

    def _text(self) -> str:
        if not isinstance(self.content, list):
            return self.content or ""
        unreadable = [part.type for part in self.content if part.text is None]
        if unreadable and self.role == "user":
            raise InvalidInput(
                f"This model reads text only: it cannot take a part of type {unreadable[0]!r}.",
                code="unsupported_value",
                param="messages",
            )
        return "".join(part.text or "" for part in self.content)


class CreateChat(SamplingFields, FormFields):
    """The body of a chat completion."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=0, le=MOST)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    store: bool = False
    metadata: Metadata | None = None
    user: Storable | None = None

    def request(self, model: Served) -> SampleRequest:
        """Return what the serving process is asked.

        Raises:
            InvalidInput: two words of the request contradict each other.

        """
        if self.top_logprobs and not self.logprobs:
            raise InvalidInput(
                "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
                code="invalid_value",
                param="top_logprobs",
            )
        limit = self.max_completion_tokens
        limit = self.max_tokens if limit is None else limit
        top = self.top_logprobs if self.logprobs else None
        return SampleRequest(
            id=0,
            engine=model.engine,
            folder=model.folder,
            messages=[message.plain() for message in self.messages],
            sampling=self.sampling(limit=limit, top_logprobs=top),
            with_tokens=self.logprobs,
            **self.form(),
        )


class Told:
    """How an answer is told to who asked: whole, or chunk by chunk."""

    def __init__(self, wanted: CreateChat, new_id: NewId, created: int) -> None:
        self._wanted, self.call_id = wanted, Named(new_id)
        self._envelope = {
            "id": new_id("chatcmpl-"),
            "created": created,
            "model": wanted.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def whole(self, found: Sampled) -> dict[str, Any]:
        """Return a chat completion."""
        return self._envelope | {
            "object": "chat.completion",
            "choices": [self._choice(index, choice) for index, choice in enumerate(found.choices)],
            "usage": usage_json(found),
        }

    def chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        """Return a chunk of a stream."""
        told = self._envelope | {"object": "chat.completion.chunk", "choices": list(choices)}
        return told | {"usage": None} if self._wanted.with_usage else told

    def reason(self, reason: str) -> str:
        """Return why an answer ended, in the words of who asked.

        Who names the function that must be called is told `stop`, as OpenAI does.
        """
        if reason != "tool_calls":
            return reason
        if self._wanted.names_function:
            return "stop"
        return "function_call" if self._wanted.has_functions else reason

    def logprobs(self, tokens: list[WireToken]) -> dict[str, Any] | None:
        """Return how likely tokens were, where that is wanted."""
        return logprobs_json(tokens) if self._wanted.logprobs else None

    def _choice(self, index: int, choice: WireChoice) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if choice.calls and not choice.text else choice.text,
            "refusal": None,
            "annotations": [],
        }
        if choice.calls and self._wanted.has_functions:
            message["function_call"] = function_json(choice.calls[0])
        elif choice.calls:
            message["tool_calls"] = [
                call_json(self.call_id(index, place), call)
                for place, call in enumerate(choice.calls)
            ]
        return {
            "index": index,
            "message": message,
            "logprobs": self.logprobs(choice.tokens),
            "finish_reason": self.reason(choice.finish_reason),
        }


def usage_json(found: Sampled | EndPiece | Usage) -> dict[str, Any]:
    """Return the tokens of an answer."""
    return {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "total_tokens": found.prompt_tokens + found.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": found.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": _COMPLETION_DETAILS,
    }


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
