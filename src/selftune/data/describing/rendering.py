"""One example as a model sees it, with what a training learns to write marked.

OpenAI does not publish the separators of its models; they are shown in the words of its cookbook. An
open model's are those of its own template. The embedded model reads texts only, without a system
prompt that all rows share.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.counting.lengths import Tokenizer
from selftune.data.counting.pieces import Message, is_trained, said, sides_of, tools_of
from selftune.data.rows import Row, kind_of
from selftune.models.messages import SYSTEM_ROLES
from selftune.models.open_tokenizer import OpenTokenizer

Part = Literal["text", "markup", "learned", "unread"]
"""`learned` is what the training learns to write; `unread` is left out by the model."""


class Segment(Record):
    """A stretch of the rendered text."""

    part: Part
    role: str
    text: str


def render(
    row: Row, tokenizer: Tokenizer, *, embedded: bool, reads_system: bool
) -> tuple[Segment, ...]:
    """Return a row as a model sees it.

    `embedded` is the embedded model; `reads_system` says whether it reads system prompts here.
    """
    kind = kind_of(row)
    if kind in ("fields", "item"):
        text = json.dumps(row, ensure_ascii=False, indent=2, default=str)
        return (Segment(part="text", role="fields", text=text),)
    if kind == "completion":
        return (
            Segment(part="text", role="prompt", text=str(row["prompt"])),
            Segment(part="learned", role="completion", text=str(row["completion"])),
        )
    sent, answers = sides_of(row)
    messages = [*sent, *answers]
    if embedded:
        return tuple(_as_embedded(messages, reads_system=reads_system))
    if isinstance(tokenizer, OpenTokenizer) and tokenizer.has_template:
        kept = [*sent, *answers[:1]] if kind == "preference" else messages
        return _as_open(kept, row, tokenizer)
    return tuple(_as_openai(messages, row))


def _as_openai(messages: Sequence[Message], row: Row) -> Iterator[Segment]:
    tools = tools_of(row)
    if tools:
        text = json.dumps(tools, ensure_ascii=False, indent=2) + "\n"
        yield Segment(part="text", role="tools", text=text)
    for message in messages:
        role = str(message.get("role", ""))
        yield Segment(part="markup", role=role, text=f"<|start|>{role}<|message|>")
        yield _spoken(message, role)
        yield Segment(part="markup", role=role, text="<|end|>\n")


def _as_embedded(messages: Sequence[Message], *, reads_system: bool) -> Iterator[Segment]:
    for message in messages:
        role = str(message.get("role", ""))
        left_out = role in SYSTEM_ROLES and not reads_system
        segment = _spoken(message, role)
        yield segment.model_copy(update={"part": "unread"}) if left_out else segment
        yield Segment(part="markup", role=role, text="\n")


def _spoken(message: Message, role: str) -> Segment:
    return Segment(part="learned" if is_trained(message) else "text", role=role, text=said(message))


def _as_open(
    messages: Sequence[Message], row: Row, tokenizer: OpenTokenizer
) -> tuple[Segment, ...]:
    """Return what the template writes for each message: what one more message adds to the text."""
    found: list[Segment] = []
    tools = row.get("tools")
    written = ""
    for number, message in enumerate(messages, start=1):
        role = str(message.get("role", ""))
        text = tokenizer.render(messages[:number], tools)
        if not text.startswith(written):  # a template that rewrites what stood before
            return (Segment(part="text", role="", text=tokenizer.render(messages, tools)),)
        added = text[len(written) :]
        if is_trained(message):
            header = _header(messages[: number - 1], tools, tokenizer, written)
            opening = header if added.startswith(header) else ""
            found.append(Segment(part="markup", role=role, text=opening))
            added = added.removeprefix(opening)
        part: Part = "learned" if is_trained(message) else "text"
        found.append(Segment(part=part, role=role, text=added))
        written = text
    return tuple(segment for segment in found if segment.text)


def _header(messages: Sequence[Message], tools: Any, tokenizer: OpenTokenizer, written: str) -> str:
    """Return what a template writes before an answer, so that the model begins to write."""
    try:
        asked = tokenizer.render(messages, tools, asks=True)
    except InvalidInput:  # templates may refuse a chat without messages
        return ""
    return asked[len(written) :] if asked.startswith(written) else ""
