"""What graders that ask a model share: filling their messages, and reading the reply."""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from selftune.core.errors import SelftuneError
from selftune.core.records import Record
from selftune.core.templates import fill
from selftune.evaluate.means import Ask, Asked, Reply
from selftune.evaluate.scorer import Graded, Spent, errored

Message = dict[str, Any]
T = TypeVar("T")

_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
_SHOWN = 300


class SamplingParams(Record):
    """How the model samples; absent, its endpoint decides."""

    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_completions_tokens: int | None = None
    """OpenAI's own spelling here; the next one is accepted too."""
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None

    def words(self) -> dict[str, Any]:
        """Return them as the chat API writes them."""
        given = self.model_dump(exclude_none=True)
        limit = given.pop("max_completions_tokens", None)
        return given if limit is None else {"max_completion_tokens": limit} | given


def filled(
    messages: tuple[Message, ...], item: dict[str, Any], sample: dict[str, Any]
) -> tuple[Message, ...]:
    """Return a grader's messages in the words of the chat API, with their templates filled.

    Raises:
        InvalidInput: a template names what is not there.

    """
    return tuple(
        {
            "role": str(message.get("role", "user")),
            "content": _content(message.get("content"), lambda text: fill(text, item, sample)),
        }
        for message in messages
    )


def ask_for(
    ask: Ask, asked: Asked, read: Callable[[str], T | None], judged: Callable[[T], Graded]
) -> Graded:
    """Ask, read the reply, and judge what it says; a reply without an answer is errored.

    `read` returns None for a text that it cannot read.
    """
    try:
        reply = ask(asked)
    except SelftuneError as error:
        return errored(error.message, "model_grader_server_error")
    spent = (Spent(model=reply.model or asked.model, usage=reply.usage),)
    if reply.is_refusal:
        return errored(f"the model refuses: {_short(reply)}", "model_grader_refusal_error", spent)
    found = read(reply.text)
    if found is None:
        cut = ", which was cut at its limit" if reply.is_cut else ""
        reason = f"the reply{cut} has no answer: {_short(reply)}"
        return errored(reason, "model_grader_parse_error", spent)
    return judged(found).model_copy(update={"spent": spent})


def object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a reply is, or that a fence in it holds."""
    fenced = _FENCE.search(text)
    for candidate in (text, fenced[1] if fenced else ""):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _content(content: Any, fill_text: Callable[[str], str]) -> Any:
    """Return text where everything is text, else the chat API's parts."""
    parts = content if isinstance(content, list | tuple) else [content]
    found = [_part(part, fill_text) for part in parts]
    if all(part["type"] == "text" for part in found):
        return "\n".join(part["text"] for part in found)
    return found


def _part(part: Any, fill_text: Callable[[str], str]) -> dict[str, Any]:
    if not isinstance(part, dict):
        return {"type": "text", "text": fill_text(str(part or ""))}
    if part.get("type") == "input_image":
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        url = fill_text(str(part.get("image_url", "")))
        return {"type": "image_url", "image_url": {"url": url, **detail}}
    if part.get("type") == "input_audio":
        given = part.get("input_audio")
        sound = given if isinstance(given, dict) else {}
        return {
            "type": "input_audio",
            "input_audio": {name: fill_text(str(value)) for name, value in sound.items()},
        }
    return {"type": "text", "text": fill_text(str(part.get("text", "")))}


def _short(reply: Reply) -> str:
    return repr(reply.text[:_SHOWN])
