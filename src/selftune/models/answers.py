"""What comes back from an endpoint: the records of question and answer, and how JSON becomes one.

An answer that cannot be used is a value of its own, never an empty text.
"""

import json
import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from selftune.core.canonical import fingerprint
from selftune.core.records import Record, Usage
from selftune.models.messages import content_text

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)
Status = Literal["answered", "refused", "cut", "malformed", "rejected", "failed"]
"""`refused`: the model or a filter declines. `cut`: the limit of tokens ended it. `malformed`: JSON
was asked for and something else came. `rejected`: the endpoint does not accept the request.
`failed`: no answer came, whatever was tried; only this one is worth asking again."""


class Question(Record):
    """One request to `/chat/completions`."""

    key: Annotated[str, Field(pattern=r"^[!-~]+$")]
    """SHA-256 of all that is asked; sent as `Idempotency-Key`, alike at every attempt."""
    body: dict[str, Any]
    """The request as OpenAI writes it: model, messages, and the rest."""


class Timing(Record):
    """How long an answer took, each kind of waiting by itself. All in seconds."""

    queued: float = 0.0
    """Ready to be sent, but too many others were on their way."""
    retrying: float = 0.0
    """Attempts without an answer, and the pauses after them."""
    answering: float
    """Of the attempt that was answered: from its last byte sent to the last byte received."""
    first_token: float | None = None
    """Of the same attempt: to the first token; None where the answer was not streamed."""


class Answer(Record):
    """What became of one question."""

    key: str
    status: Status
    text: str = ""
    message: dict[str, Any] = Field(default_factory=dict)
    """The assistant's whole message, tool calls and all."""
    logprobs: dict[str, Any] | None = None
    """Of its tokens, as the endpoint writes them; None where they were not asked for or given."""
    model: str = ""
    """The snapshot that answered, as the endpoint names it."""
    usage: Usage | None = None
    """None where the endpoint says nothing; nothing is unknown, not zero."""
    reason: str = ""
    """Why there is no usable answer, in words."""
    attempts: int = 1
    unheard: int = 0
    """Attempts that may have been paid for without an answer: the connection was cut."""
    timing: Timing | None = None
    """None where no answer came, or it came from a batch."""


def question(body: dict[str, Any], sample: int = 0) -> Question:
    """Return a question with its key; `sample` tells equal questions of one run apart."""
    return Question(key=fingerprint({"body": body, "sample": sample}), body=body)


def read_completion(asked: Question, text: str | bytes) -> Answer:
    """Return the answer that a chat completion's JSON holds.

    Raises:
        ValueError: the text is not a chat completion.

    """
    return answer_of(asked, load_json(text))


def answer_of(asked: Question, completion: Any) -> Answer:
    """Return the answer that a chat completion holds; raises what `read_completion` raises."""
    choice = _first_choice(completion)
    message = choice["message"]
    said = content_text(message)
    if isinstance(message.get("content"), list):
        message = message | {"content": said}
    status, reason = _judge(asked, choice, said)
    return Answer(
        key=asked.key,
        status=status,
        text=said,
        message=message,
        logprobs=_logprobs(choice.get("logprobs")),
        model=str(completion.get("model") or ""),
        usage=_usage(completion.get("usage")),
        reason=reason,
    )


def load_json(text: str | bytes) -> Any:
    """Return a JSON value; halves of surrogate pairs, which no file can hold, become `?`.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.

    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _load_leniently(text)


def _load_leniently(text: str | bytes) -> Any:
    """Return what the standard library reads: half a pair, NaN, and bytes that are not UTF-8 too."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            whole = json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace")
            return json.loads(whole)
        return value
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error


def load_structured(text: str) -> Any:
    """Return the JSON value of an answer that was asked for as JSON.

    Servers without structured output let models think aloud before it, and fence it as code.

    Raises:
        ValueError: there is no JSON value, or something else beside it.

    """
    text = text.rpartition("</think>")[2].strip()
    fenced = _FENCE.fullmatch(text)
    return load_json(text if fenced is None else fenced[1])


def _first_choice(body: Any) -> dict[str, Any]:
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not isinstance(first.get("message"), dict):
        raise ValueError("The endpoint's answer is no chat completion.")
    return first


def _judge(asked: Question, choice: dict[str, Any], said: str) -> tuple[Status, str]:
    message, finish = choice["message"], choice.get("finish_reason")
    if message.get("refusal"):
        return "refused", str(message["refusal"])
    if finish == "content_filter":
        return "refused", "The endpoint's content filter stopped the answer."
    if finish == "length":
        return "cut", "The answer reached the limit of tokens."
    if not said.strip():
        is_call = message.get("tool_calls") or message.get("function_call")
        return ("answered", "") if is_call else ("malformed", "The answer is empty.")
    if "response_format" in asked.body and not _is_json(said):
        return "malformed", "The answer is not JSON."
    return "answered", ""


def _is_json(text: str) -> bool:
    try:
        load_structured(text)
    except ValueError:
        return False
    return True


def _logprobs(found: Any) -> dict[str, Any] | None:
    return found if isinstance(found, dict) and found.get("content") else None


def _usage(found: Any) -> Usage | None:
    if not isinstance(found, dict):
        return None
    prompt, completion = found.get("prompt_tokens"), found.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    details = found.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached if isinstance(cached, int) else 0,
    )
