"""Completions that an endpoint stored (`store=true`), or that somebody wrote into a log."""

from collections.abc import Iterator
from typing import Any

from selftune.core.errors import Unavailable
from selftune.core.records import Record
from selftune.models.endpoint import Endpoint, client_arguments, raise_if_hopeless


class Stored(Record):
    """One question that was asked before, and its answer."""

    id: str
    model: str
    messages: tuple[dict[str, Any], ...]
    answer: dict[str, Any]
    """The assistant's message, with nothing but what training rows may have."""
    tools: dict[str, Any]
    """What the request said about tools, by the request's own keys."""


def stored_completions(endpoint: Endpoint) -> Iterator[Stored]:
    """Yield what the endpoint stored for a model, oldest first.

    Raises:
        AuthenticationFailed, PermissionDenied, NotFound: it stores nothing, or not for this key.
        Unavailable: the connection was lost.

    """
    from openai import APIError, OpenAI

    try:
        with OpenAI(**client_arguments(endpoint), max_retries=5) as client:
            completions = client.chat.completions
            for one in completions.list(model=endpoint.model, order="asc", limit=100):
                asked = completions.messages.list(one.id, limit=100)
                messages = [message.model_dump(exclude_none=True) for message in asked]
                body = one.model_dump(exclude_none=True)
                found = logged_completion(body | {"messages": messages}, one.id)
                if found is not None:
                    yield found
    except APIError as error:
        raise_if_hopeless(endpoint, getattr(error, "status_code", 500), error.code, error.message)
        raise Unavailable(f"The stored completions cannot be read: {error.message}") from error


def logged_completion(entry: dict[str, Any], name: str) -> Stored | None:
    """Return what one line of an export or log says, or None where it has no question and answer.

    Known shapes: a completion with its `messages` or `input` beside `choices`; and
    `{"request": {"messages": …}, "response": {"choices": …}}`, as proxies and batches log it.
    """
    request = next(
        (entry[name] for name in ("request", "body") if isinstance(entry.get(name), dict)), entry
    )
    response = entry.get("response", entry)
    if isinstance(response, dict) and isinstance(response.get("body"), dict):
        response = response["body"]
    asked = next(
        (request[name] for name in ("messages", "input") if isinstance(request.get(name), list)),
        None,
    )
    choices = response.get("choices") if isinstance(response, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict) or not asked or not all(isinstance(m, dict) for m in asked):
        return None
    return Stored(
        id=str(response.get("id") or entry.get("id") or name),
        model=str(response.get("model") or request.get("model") or ""),
        messages=tuple(plain_message(one) for one in asked),
        answer=plain_message(message),
        tools={name: request[name] for name in TOOL_KEYS if request.get(name) is not None},
    )


TOOL_KEYS = ("tools", "parallel_tool_calls", "functions")
"""Keys of a request about tools that training rows have too."""
_KEPT = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")


def plain_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with the keys that training rows may have."""
    return {name: message[name] for name in _KEPT if message.get(name) is not None}
