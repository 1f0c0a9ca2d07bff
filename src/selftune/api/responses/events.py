"""A response as the events of a stream."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from itertools import count
from typing import Any

from selftune.api.chat.wire import logprobs_json
from selftune.api.errors import crash_body, log_crash
from selftune.api.responses.items import call_item, output_part
from selftune.api.responses.wire import (
    begun_json,
    call_item_id,
    calls_of,
    failed_json,
    message_item_id,
    outputs_json,
    response_json,
)
from selftune.api.streams import Frames
from selftune.core.errors import LimitExceeded, SelftuneError
from selftune.serve.frames import CallPiece, TokenPiece, WirePiece
from selftune.store.completions import StoredCompletion

Event = dict[str, Any]


def events_of(found: StoredCompletion) -> Iterator[Event]:
    """Yield the events of a response that is over; what it says comes as one piece."""
    telling = _Telling(found)
    yield from telling.begin()
    message = found.message
    text = message.get("refusal") or message.get("content")
    if text:
        told = (found.choices[0].logprobs or {}).get("content") or []
        yield from telling.say(text, told, kind="refusal" if message.get("refusal") else "text")
    for call in calls_of(message):
        yield from telling.call(call)
    yield from telling.end(found)


async def events_json(
    blank: StoredCompletion,
    frames: Frames,
    call_id: Callable[[int, int], str],
    ended: Callable[[], StoredCompletion],
    *,
    with_logprobs: bool,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a response as it is answered; `ended` returns it when it is whole."""
    telling = _Telling(blank)
    for event in telling.begin():
        yield event
    try:
        async with aclosing(frames):
            async for pieces in frames:
                for piece in pieces:
                    for event in _told(telling, piece, call_id, with_logprobs=with_logprobs):
                        yield event
        for event in telling.end(ended()):
            yield event
    except SelftuneError as error:
        is_limit = isinstance(error, LimitExceeded)
        yield telling.fail("rate_limit_exceeded" if is_limit else "server_error", error.message)
    except Exception:  # noqa: BLE001 - the headers are sent: this is all that can be said
        log_crash()
        yield telling.fail("server_error", crash_body()["error"]["message"])


def _told(
    telling: "_Telling",
    piece: WirePiece,
    call_id: Callable[[int, int], str],
    *,
    with_logprobs: bool,
) -> Iterator[Event]:
    if isinstance(piece, TokenPiece):
        if piece.token.text or (with_logprobs and telling.is_saying):
            logprobs = logprobs_json([piece.token])["content"] if with_logprobs else []
            yield from telling.say(piece.token.text, logprobs)
    elif isinstance(piece, CallPiece):
        function = {"name": piece.call.name, "arguments": piece.call.arguments}
        name = call_id(piece.choice, telling.calls)
        yield from telling.call({"id": name, "type": "function", "function": function})


class _Telling:
    """Numbers the events, and knows which items are open."""

    def __init__(self, blank: StoredCompletion) -> None:
        self._blank = blank
        self._numbers = count()
        self._items = 0
        self._message: _Message | None = None
        self.calls = 0

    @property
    def is_saying(self) -> bool:
        """Whether the message is open."""
        return self._message is not None

    def begin(self) -> Iterator[Event]:
        """Yield what comes before all that is answered."""
        begun = begun_json(self._blank)
        yield self._event("created", response=begun)
        yield self._event("in_progress", response=begun)

    def say(self, text: str, logprobs: list[Any], kind: str = "text") -> Iterator[Event]:
        """Yield the events of a piece of the message; the first one opens it."""
        if self._message is None:
            self._message = _Message(message_item_id(self._blank), self._items, kind)
            self._items += 1
            yield from self._numbered(self._message.open())
        yield from self._numbered(self._message.add(text, logprobs))

    def call(self, call: dict[str, Any]) -> Iterator[Event]:
        """Yield the events of a call, which comes whole."""
        item = call_item(call, call_item_id(self._blank, self.calls))
        place: dict[str, Any] = {"output_index": self._items}
        self.calls += 1
        self._items += 1
        opened = item | {"status": "in_progress", "arguments": ""}
        yield self._event("output_item.added", item=opened, **place)
        place["item_id"] = item["id"]
        arguments = item["arguments"]
        yield self._event("function_call_arguments.delta", delta=arguments, **place)
        yield self._event("function_call_arguments.done", arguments=arguments, **place)
        yield self._event("output_item.done", item=item, output_index=place["output_index"])

    def end(self, found: StoredCompletion) -> Iterator[Event]:
        """Yield what comes when all is answered."""
        first = outputs_json(found)[0]
        if first["type"] == "message":
            if self._message is None:  # an empty answer is an answer
                yield from self._open_empty()
            assert self._message is not None
            yield from self._numbered(self._message.close(first))
        ended = response_json(found)
        yield self._event(ended["status"], response=ended)

    def fail(self, code: str, message: str) -> Event:
        """Return the event of an answer that ended in the middle."""
        return self._event("failed", response=failed_json(self._blank, code, message))

    def _open_empty(self) -> Iterator[Event]:
        self._message = _Message(message_item_id(self._blank), self._items, "text")
        yield from self._numbered(self._message.open())

    def _numbered(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            yield event | {"sequence_number": next(self._numbers)}

    def _event(self, kind: str, **more: Any) -> Event:
        return {"type": f"response.{kind}", "sequence_number": next(self._numbers), **more}


class _Message:
    """The message of a response, between its first piece and its end."""

    def __init__(self, item_id: str, index: int, kind: str) -> None:
        self._index = index
        self._place = {"item_id": item_id, "output_index": index, "content_index": 0}
        self._is_text = kind == "text"
        self._kind, self._field = ("output_text", "text") if self._is_text else (kind, kind)

    def open(self) -> Iterator[Event]:
        part = output_part({"type": self._field, self._field: ""})
        item = {
            "id": self._place["item_id"],
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        yield {"type": "response.output_item.added", "output_index": self._index, "item": item}
        yield {"type": "response.content_part.added", "part": part} | self._place

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        more = {"logprobs": logprobs} if self._is_text else {}
        yield {"type": f"response.{self._kind}.delta", "delta": text} | self._place | more

    def close(self, item: dict[str, Any]) -> Iterator[Event]:
        [part] = item["content"]
        more = {"logprobs": part["logprobs"]} if self._is_text else {}
        done = {"type": f"response.{self._kind}.done", self._field: part[self._field]}
        yield done | self._place | more
        yield {"type": "response.content_part.done", "part": part} | self._place
        yield {"type": "response.output_item.done", "output_index": self._index, "item": item}
