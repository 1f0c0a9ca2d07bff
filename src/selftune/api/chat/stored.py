"""Stored chat completions in OpenAI's JSON, both ways."""

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from selftune.api.chat.wire import CreateChat, usage_json
from selftune.api.context import identity, json_of, request_id
from selftune.api.sampling import FINGERPRINT
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.store.completions import Kind, StoredChoice, StoredCompletion

CHAT: Kind = "chat.completion"
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_ECHOED = (*_NUMBERS, "tools", "tool_choice", "response_format")
"""What OpenAI says of a stored chat besides its answer."""
_OPTIONS = (
    "tools",
    "tool_choice",
    "response_format",
    "n",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "reasoning_effort",
    "user",
)
_OF_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal")


@dataclass(frozen=True)
class Asked:
    """A chat that is to be stored with its answer."""

    project_id: str
    model: str
    metadata: dict[str, str]
    messages: tuple[dict[str, Any], ...]
    options: dict[str, Any]

    def answered(self, completion: dict[str, Any]) -> StoredCompletion:
        """Return the record of the chat and of what OpenAI's JSON says that was answered."""
        usage = completion.get("usage")
        return StoredCompletion(
            id=completion["id"],
            project_id=self.project_id,
            kind=CHAT,
            model=self.model,
            created_at=completion["created"],
            metadata=self.metadata,
            messages=self.messages,
            choices=tuple(
                StoredChoice(
                    message=choice["message"],
                    finish_reason=choice["finish_reason"],
                    logprobs=choice["logprobs"],
                )
                for choice in completion["choices"]
            ),
            usage=None if usage is None else usage_of(usage),
            options=self.options,
        )


def usage_of(told: dict[str, Any]) -> Usage:
    """Return the tokens that OpenAI's JSON tells."""
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        prompt_tokens=told["prompt_tokens"],
        completion_tokens=told["completion_tokens"],
        cached_tokens=cached if isinstance(cached, int) else 0,
    )


async def asked_of(request: Request, wanted: CreateChat) -> Asked:
    """Return what of a request is stored, in the caller's own words.

    Raises:
        InvalidInput: it has what no answer could give back; said before a model is asked.

    """
    body = await json_of(request)
    messages = tuple(
        {name: message[name] for name in _OF_MESSAGE if message.get(name) is not None}
        for message in body["messages"]
    )
    options = {name: body[name] for name in _OPTIONS if name in body}
    for param, value in (("messages", messages), *options.items()):
        try:
            orjson.dumps(value)
        except orjson.JSONEncodeError as error:
            raise InvalidInput(
                f"Invalid value for {param!r}: it could not be given back as JSON: {error}.",
                code="invalid_value",
                param=param,
            ) from error
    return Asked(
        project_id=identity(request).project_id,
        model=wanted.model,
        metadata=wanted.metadata or {},
        messages=messages,
        options=options
        | {name: getattr(wanted, name) for name in _NUMBERS}
        | {"request_id": request_id(request)},
    )


def stored_json(found: StoredCompletion) -> dict[str, Any]:
    """Return a stored chat completion."""
    value = {
        "object": CHAT,
        "id": found.id,
        "model": found.model,
        "created": found.created_at,
        "request_id": found.options.get("request_id"),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
        "input_user": found.options.get("user"),
        "metadata": found.metadata,
        "choices": [
            {"index": index, **choice.model_dump()} for index, choice in enumerate(found.choices)
        ],
    } | {name: found.options.get(name) for name in _ECHOED}
    return value if found.usage is None else value | {"usage": usage_json(found.usage)}


def messages_json(found: StoredCompletion) -> list[dict[str, Any]]:
    """Return what was said to the model."""
    return [
        _message_json(f"{found.id}-{index}", message)
        for index, message in enumerate(found.messages)
    ]


def _message_json(message_id: str, message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of a request. OpenAI's schema knows only answers; its example a user's."""
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    return message | {
        "id": message_id,
        "content": content if parts is None else "".join(part.get("text") or "" for part in parts),
        "name": message.get("name"),
        "refusal": message.get("refusal"),
        "content_parts": parts,
    }
