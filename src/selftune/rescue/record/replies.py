"""An answer in any of the usual shapes -> a chat completion."""

from collections.abc import Sequence
from typing import Any

from selftune.rescue.record.requests import Row, said_in_words
from selftune.rescue.told import said_in_response

_ANSWERS = ("response", "output", "answer", "completion")
_OF_OBJECTS = ("choices", "output")


def given_in(row: Row) -> Any:
    """Return what a row holds as its answer, whatever it is."""
    sample = row.get("sample")
    if isinstance(sample, dict):
        return sample
    for name in _OF_OBJECTS:
        if isinstance(row.get(name), list):  # an answer as the API writes it, with its request
            return {each: row[each] for each in (name, "id", "model", "usage") if each in row}
    return next((row[name] for name in _ANSWERS if row.get(name) is not None), None)


def completion_of(given: Any) -> Row | None:
    """Return an answer as a chat completion; None where it is none."""
    if isinstance(given, list):
        given = {"choices": given} if _are_choices(given) else {"output": given}
    if not isinstance(given, dict):
        return _made({"content": given}) if isinstance(given, str) and given else None
    if isinstance(given.get("body"), dict):  # of a batch
        is_right = given.get("status_code") in (None, 200)
        return completion_of(given["body"]) if is_right else None
    if isinstance(given.get("choices"), list):
        choices = [_choice(each) for each in given["choices"] if isinstance(each, dict)]
        whole = [each for each in choices if each is not None]
        return {**given, "choices": whole} if whole else None
    return _of_output(given) if isinstance(given.get("output"), list) else _of_message(given)


def _of_message(given: Row) -> Row | None:
    text = next((given[n] for n in ("output_text", "text") if isinstance(given.get(n), str)), None)
    message = given.get("message", given if text is None else {"content": text})
    return _made(message) if isinstance(message, dict) and _is_answer(message) else None


def _of_output(given: Row) -> Row | None:
    """Return the completion that a response's output, or an output item's, tells."""
    said = [each for each in given["output"] if isinstance(each, dict)]
    last = next((each for each in reversed(said) if "type" not in each), None)
    if last is not None:  # messages of a chat
        made = _made(last, given.get("finish_reason") or "stop")
        return {**given, **made} if _is_answer(last) else None
    try:
        found = said_in_response({**given, "output": said})
    except (KeyError, TypeError, AttributeError):
        return None
    if not _is_answer(found.message):
        return None
    counts: dict[str, Any] | None = None
    if found.usage is not None:
        cached = {"cached_tokens": found.usage.cached_tokens}
        counts = {**found.usage.model_dump(), "prompt_tokens_details": cached}
    made = _made(found.message, found.finish_reason)
    return {"id": given.get("id"), "model": given.get("model"), "usage": counts, **made}


def _choice(choice: Row) -> Row | None:
    message = choice.get("message", {"content": choice.get("text")})
    if not isinstance(message, dict) or not _is_answer(message):
        return None
    return {**choice, "message": _with_tools(message)}


def _made(message: Row, reason: str = "stop") -> Row:
    return {"choices": [{"message": _with_tools(message), "finish_reason": reason}]}


def _with_tools(message: Row) -> Row:
    """Return a message with what it calls in the newer words, which graders read."""
    old = message.get("function_call")
    if not isinstance(old, dict) or message.get("tool_calls"):
        return message
    call = {"id": "call_0", "type": "function", "function": old}
    return {**message, "function_call": None, "tool_calls": [call]}


def _is_answer(message: Row) -> bool:
    return any((*said_in_words(message), message.get("refusal")))


def _are_choices(given: Sequence[Any]) -> bool:
    return all(isinstance(each, dict) and ("message" in each or "text" in each) for each in given)
