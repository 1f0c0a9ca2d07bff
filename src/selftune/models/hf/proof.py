"""Find out what a chat template does, by letting it write conversations whose answers are known.

A template is taken only if it shows what the assistant says, all of it and nothing else, after the
very prompt that serving asks with, and ends it with a token of its own. For any other no loss mask
is right, and what is served would not be what was trained.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from selftune.core import plugins
from selftune.core.errors import InvalidInput, JobFailed
from selftune.models.hf import families
from selftune.models.hf.conversation import Chat, Habits, chat_of
from selftune.models.hf.dialect import Family
from selftune.models.hf.encoding import Encoder
from selftune.models.hf.template import REFUSED, Template

_SAID = (
    "Seven.",
    "Two  spaces, a\n\nnew line, „quotes“ & <b>marks</b>: 日本 🙂",
    '{"a": [1, "B"]}',
    "It’s 12:45 — why?",
)
_PADDED = " \n Seven. \n"
_ASKED = ("How many days has a week?", "And how many hours has a day?")
_RULE = "Answer with a number and with nothing else."
_TOOL = {
    "type": "function",
    "function": {
        "name": "find_city",
        "description": "Find a city by its name.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
_ARGUMENTS = {"city": "Zürich", "limit": 3}


class Frame(NamedTuple):
    """What a template writes of an answer besides what is said: before it, after it, at its end."""

    before: str
    after: str
    stop: str
    """Text of the token that ends the turn."""


class Proven(NamedTuple):
    """What a template was seen to do."""

    habits: Habits
    frame: Frame
    trims: bool
    """Whether it strips the spaces around what the assistant says."""
    family: Family | None
    """How it writes calls; None where it has no tools, or writes calls as nobody here can read."""
    stops: tuple[str, ...]
    """Texts of the tokens that end an answer."""


def prove(template: Template, encoder: Encoder) -> Proven:
    """Return what a template does.

    Raises:
        JobFailed: no correct loss mask can be shown; says what the template does wrong.

    """
    try:
        habits = _habits(template)
        frames = {_frame(template, encoder, chat) for chat in _chats(habits)}
    except InvalidInput as fault:
        raise JobFailed(_refusal(str(fault)), code=REFUSED) from fault
    if len(frames) > 1:
        shown = " and ".join(repr("…".join(frame)) for frame in sorted(frames)[:2])
        raise JobFailed(
            _refusal(f"what it writes around an answer depends on the answer: {shown}"),
            code=REFUSED,
        )
    frame = frames.pop()
    family, habits, stop = _family(template, encoder, habits)
    return Proven(
        habits=habits,
        frame=frame,
        trims=_trims(template, habits, frame),
        family=family,
        stops=tuple(dict.fromkeys((frame.stop, stop or frame.stop))),
    )


def probe(habits: Habits) -> Chat:
    """Return the conversation whose tokens are kept with a model, to be compared at each load."""
    return list(_chats(habits))[-1]


def probe_tools(family: Family | None) -> list[dict[str, Any]]:
    """Return the tools of that conversation."""
    return [_TOOL] if family is not None else []


def answer_after(template: Template, messages: Sequence[dict[str, Any]], tools: Any = ()) -> str:
    """Return what a template writes of the last message, after the prompt that asks for it.

    Raises:
        InvalidInput: what is written does not begin with that prompt.

    """
    prompt = template.render(messages[:-1], tools, prompt=True)
    whole = template.render(messages, tools)
    if not whole.startswith(prompt):
        raise InvalidInput(
            "a conversation with an answer does not begin with the prompt that asks for the answer, "
            f"which ends {prompt[-60:]!r}",
        )
    return whole[len(prompt) :]


def _refusal(fault: str) -> str:
    return (
        f"No correct loss mask can be shown for this model's chat template: {fault.rstrip('.')}. "
        "Take another model, or mend its chat_template.jinja."
    )


def _chats(habits: Habits) -> Iterator[Chat]:
    """Yield conversations that end with each answer, as first and as second turn."""
    for said, ruled in product(_SAID, (False, True)):
        rule = [{"role": "system", "content": _RULE}] if ruled else []
        first = [*rule, {"role": "user", "content": _ASKED[0]}]
        yield chat_of([*first, {"role": "assistant", "content": said}], habits)
        second = [
            {"role": "assistant", "content": _SAID[0]},
            {"role": "user", "content": _ASKED[1]},
        ]
        yield chat_of([*first, *second, {"role": "assistant", "content": said}], habits)


def _habits(template: Template) -> Habits:
    system = _shows(template, [("system", _RULE), ("user", _ASKED[0])])
    in_a_row = _shows(template, [("user", _ASKED[0]), ("user", _ASKED[1])])
    if not _shows(template, [("user", _ASKED[0])]):
        raise InvalidInput("it does not show what the user says")
    return Habits(system=system, in_a_row=in_a_row)


def _shows(template: Template, said: Sequence[tuple[str, str]]) -> bool:
    """Whether a template takes these messages and shows all of them."""
    messages = [{"role": role, "content": content} for role, content in said]
    try:
        text = template.render(messages, prompt=True)
    except InvalidInput:
        if len(said) == 1:
            raise
        return False
    return all(content in text for _, content in said)


def _frame(template: Template, encoder: Encoder, chat: Chat) -> Frame:
    said = chat.messages[-1]["content"]
    written = answer_after(template, chat.messages)
    before, found, rest = written.partition(said)
    if not found:
        raise InvalidInput(f"the assistant says {said!r}, and it writes {written[:120]!r}")
    stop = encoder.first_own(rest)
    if stop is None:
        raise InvalidInput(f"it ends an answer with {rest[:60]!r}, which is no token of its own")
    return Frame(before, rest[: rest.index(stop)], stop)


def _trims(template: Template, habits: Habits, frame: Frame) -> bool:
    asked = {"role": "user", "content": _ASKED[0]}
    chat = chat_of([asked, {"role": "assistant", "content": _PADDED}], habits)
    written = answer_after(template, chat.messages)
    body = written[: written.index(frame.stop)]
    if body == frame.before + _PADDED + frame.after:
        return False
    if body.strip() == (frame.before + _PADDED.strip() + frame.after).strip():
        return True
    raise JobFailed(
        _refusal(f"the assistant says {_PADDED!r}, and it writes {body[:120]!r}"), code=REFUSED
    )


def _family(
    template: Template, encoder: Encoder, habits: Habits
) -> tuple[Family | None, Habits, str | None]:
    """Return the family that reads the calls that a template writes, and what ends such a turn."""
    for as_text in (False, True):
        tried = habits._replace(arguments_as_text=as_text)
        written = _written_call(template, tried)
        if written is None:
            continue
        for name in plugins.available(families):
            family: Family = plugins.load(families, name).build()
            stop = _stop_of_call(family, encoder, written)
            if stop is not None:
                return family, tried, stop
    return None, habits, None


def _written_call(template: Template, habits: Habits) -> str | None:
    """Return what a template writes of a call, where it shows tools and their answers at all."""
    function = {"name": "find_city", "arguments": json.dumps(_ARGUMENTS)}
    call = {"id": "call_1", "type": "function", "function": function}
    chat = chat_of(
        [
            {"role": "user", "content": "Where is Zürich?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "At the lake of that name."},
            {"role": "assistant", "content": _SAID[0]},
        ],
        habits,
    )
    try:
        asked = template.render(chat.messages[:1], [_TOOL], prompt=True)
        answered = template.render(chat.messages[:3], [_TOOL], prompt=True)
        last = answer_after(template, chat.messages, [_TOOL])
        written = answer_after(template, chat.messages[:2], [_TOOL])
    except InvalidInput:
        return None
    shown = "find_city" in asked and "At the lake" in answered and _SAID[0] in last
    return written if shown else None


def _stop_of_call(family: Family, encoder: Encoder, written: str) -> str | None:
    """Return the text of the token that ends a call, if the family reads that call."""
    for stop, start in encoder.specials_in(written):
        read = family.read(written[:start], [_TOOL])
        if len(read.calls) == 1 and not read.content.strip():
            return stop if json.loads(read.calls[0].arguments) == _ARGUMENTS else None
    return None
