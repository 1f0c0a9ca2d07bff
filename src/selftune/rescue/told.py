"""Read what one side answered: bytes of an answer, whole or streamed, to a message."""

from typing import Any

from selftune.core.records import Record, Usage
from selftune.models.answers import load_json
from selftune.models.events import EventStream
from selftune.models.noted import Heard

CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


class Said(Record):
    """An answer's first choice, as a chat has it."""

    message: dict[str, Any]
    finish_reason: str
    logprobs: dict[str, Any] | None = None
    usage: Usage | None = None


def said_in(path: str, heard: Heard) -> Said:
    """Return what was answered.

    Raises:
        ValueError: it is a refusal, or nothing that can be read.

    """
    if heard.status != 200:
        raise ValueError(f"It was refused with {heard.status}.")
    try:
        if path == RESPONSES:
            return said_in_response(
                _last_event(heard.body) if heard.is_stream else _json(heard.body)
            )
        if path == COMPLETIONS:
            return _of_text(heard)
        return _of_chat(_streamed(heard.body) if heard.is_stream else _json(heard.body))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("It has another shape than an answer.") from error


def _json(body: bytes) -> dict[str, Any]:
    found = load_json(body)
    if not isinstance(found, dict):
        raise ValueError("It is no JSON object.")
    return found


def _streamed(body: bytes) -> dict[str, Any]:
    stream = EventStream()
    stream.feed(body)
    return stream.completion()


def _of_chat(found: dict[str, Any]) -> Said:
    choice = found["choices"][0]
    return Said(
        message={name: value for name, value in choice["message"].items() if value is not None}
        | {"content": choice["message"].get("content")},
        finish_reason=choice.get("finish_reason") or "stop",
        logprobs=choice.get("logprobs"),
        usage=_usage(found.get("usage"), "prompt", "completion"),
    )


def said_in_response(found: dict[str, Any]) -> Said:
    """Return what a response of the Responses API says, as a chat has it."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for item in found["output"]:
        if item.get("type") == "message":
            texts += [part.get("text") or part.get("refusal") or "" for part in item["content"]]
        elif item.get("type") == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            calls.append({"id": item["call_id"], "type": "function", "function": function})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    why = (found.get("incomplete_details") or {}).get("reason")
    reason = _INCOMPLETE.get(str(why), "tool_calls" if calls else "stop")
    usage = _usage(found.get("usage"), "input", "output")
    return Said(message=message, finish_reason=reason, usage=usage)


def _of_text(heard: Heard) -> Said:
    chunks = _events(heard.body) if heard.is_stream else [_json(heard.body)]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    first = [choice for choice in choices if not choice.get("index")]
    reasons = [choice["finish_reason"] for choice in first if choice.get("finish_reason")]
    text = "".join(choice.get("text") or "" for choice in first)
    if not first:
        raise ValueError("It has no choice.")
    message = {"role": "assistant", "content": text}
    return Said(message=message, finish_reason=reasons[-1] if reasons else "stop")


def _events(body: bytes) -> list[dict[str, Any]]:
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return [_json(each) for each in data if each != b"[DONE]"]


def _last_event(body: bytes) -> dict[str, Any]:
    for event in reversed(_events(body)):
        if event.get("type") in _ENDS:
            return dict(event["response"])
    raise ValueError("The stream broke off.")


def _usage(found: Any, asked: str, answered: str) -> Usage | None:
    if not isinstance(found, dict):
        return None
    counts = [found.get(f"{asked}_tokens"), found.get(f"{answered}_tokens")]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return None
    details = found.get(f"{asked}_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        prompt_tokens=counts[0],
        completion_tokens=counts[1],
        cached_tokens=cached if isinstance(cached, int) else 0,
    )
