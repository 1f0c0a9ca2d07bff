"""Chats that another server answers: what comes back, in OpenAI's JSON, whole or cut into chunks."""

from collections.abc import Iterator
from typing import Any

from selftune.api.sampling import MOST
from selftune.models.messages import content_text

_OURS = ("stream", "stream_options", "store", "metadata")
"""Words that this server follows itself: answers are asked for whole, and stored here."""


def passed_on(body: dict[str, Any]) -> dict[str, Any]:
    """Return what of a request the other server is asked."""
    return {name: value for name, value in body.items() if name not in _OURS}


def completion_of(
    found: dict[str, Any], model: str, *, completion_id: str, created: int
) -> dict[str, Any]:
    """Return a chat completion under a name of our own, with all that clients read."""
    value = {name: told for name, told in found.items() if name != "usage"} | {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": _text(found.get("model")) or model,
        "choices": [_choice(index, choice) for index, choice in enumerate(found["choices"])],
    }
    usage = _usage(found.get("usage"))
    return value if usage is None else value | {"usage": usage}


def chunks_of(completion: dict[str, Any], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """Yield a whole completion as the chunks of a stream."""
    envelope = {name: value for name, value in completion.items() if name != "usage"}
    envelope["object"] = "chat.completion.chunk"
    if with_usage:
        envelope["usage"] = None
    for choice in completion["choices"]:
        place = {"index": choice["index"], "logprobs": None, "finish_reason": None}
        first = {"role": "assistant", "content": "", "refusal": None}
        yield envelope | {"choices": [place | {"delta": first}]}
        for delta, logprobs in _deltas(choice):
            yield envelope | {"choices": [place | {"delta": delta, "logprobs": logprobs}]}
        last = place | {"delta": {}, "finish_reason": choice["finish_reason"]}
        yield envelope | {"choices": [last]}
    if with_usage:
        yield envelope | {"choices": [], "usage": completion.get("usage")}


def _deltas(choice: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    message = choice["message"]
    for name in ("refusal", "content"):
        if message[name]:
            yield {name: message[name]}, choice["logprobs"] if name == "content" else None
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            yield {"tool_calls": [{**call, "index": index}]}, None
    if message.get("function_call"):
        yield {"function_call": message["function_call"]}, None


def _choice(index: int, choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice that has every field; what is of another type than it must be is left out."""
    message, logprobs = choice["message"], choice.get("logprobs")
    content = message.get("content")
    has_text = isinstance(content, str | list)
    plain = {
        "role": "assistant",
        "content": content_text(message) if has_text else None,
        "refusal": _text(message.get("refusal")),
        "annotations": message.get("annotations") or [],
    }
    return {
        "index": index,
        "message": {**message, **plain},
        "logprobs": logprobs if isinstance(logprobs, dict) else None,
        "finish_reason": _text(choice.get("finish_reason")) or "stop",
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _usage(found: Any) -> dict[str, Any] | None:
    """Return the usage that an endpoint tells; nothing is unknown, not zero."""
    if not isinstance(found, dict):
        return None
    counts = [found.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counts if isinstance(count, int) and 0 <= count <= MOST]
    if len(known) < len(counts):
        return None
    return {**found, "total_tokens": sum(known)}
