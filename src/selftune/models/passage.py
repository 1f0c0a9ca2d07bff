"""One request on its way to another server and its answer on the way back, both as bytes.

What comes is handed on as it comes, unread; who reads slowly slows the other server down, so that
nothing piles up here.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, cast

import httptools

from selftune.models.exchange import LONGEST_HEAD, Line, NoAnswer, TooSlow, Unheard

Headers = list[tuple[bytes, bytes]]
_MOST_UNREAD = 256 * 1024
"""Bytes of an answer that wait for their reader before the other server must wait too."""


class Head(NamedTuple):
    """How an answer begins."""

    status: int
    headers: Headers
    """Names in lower case."""


class Answer:
    """What comes back for one request, to be read while it comes."""

    def __init__(self, line: "Passage", timeout_seconds: float) -> None:
        self.head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self.was_heard = False
        """Whether a byte came."""
        self.is_complete = False
        """Whether all is here; what was not read yet still is to be."""
        self.timeout_seconds = timeout_seconds
        self.active = perf_counter()
        self.unread = 0
        self._line: Passage | None = line
        self._pieces: list[bytes] = []
        self._failed: NoAnswer | None = None
        self._reader: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """Return what came since the last time, at least a byte; nothing at the end.

        Raises:
            Unheard: the answer is cut.

        """
        while not self._pieces:
            if self._failed is not None:
                raise self._failed
            if self.is_complete:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        found = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.unread = 0
        if self._line is not None:
            self._line.go_on()
        return found

    async def write(self, more: bytes) -> None:
        """Send more of the request; wait while the other server takes no more.

        Raises:
            Unheard: the connection is gone.

        """
        if self._line is None:
            raise self._failed or Unheard("The answer came before the whole request was sent.")
        await self._line.write(more)

    def end(self) -> None:
        """Let go: the connection is closed if the exchange is not over."""
        if self._line is not None:
            self._line.fail(Unheard("Nobody waits for the answer any more."))

    # the line's side

    def begin(self, head: Head) -> None:
        """Hear how the answer begins."""
        if not self.head.done():
            self.head.set_result(head)

    def add(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(piece)
        self.unread += len(piece)

    def over(self, failed: NoAnswer | None) -> None:
        """Hear that nothing more comes, and why if it is too early."""
        self._line, self._failed = None, failed
        self.is_complete = failed is None
        if failed is not None and not self.head.done():
            self.head.set_exception(failed)
            self.head.exception()  # who has gone does not ask
        self.wake()

    def wake(self) -> None:
        """Let the reader look at what came."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Passage(Line):
    """One connection; between `send` and the end of the answer it is in use."""

    def __init__(
        self, keep: Callable[["Passage"], None], forget: Callable[["Passage"], None]
    ) -> None:
        super().__init__()
        self._keep, self._forget = keep, forget
        self._answer: Answer | None = None
        self._room: asyncio.Event | None = None

    def send(self, request: bytes, timeout_seconds: float, *, is_whole: bool = True) -> Answer:
        """Send a request, or the begin of one. Nobody may be silent for longer than the timeout."""
        assert self._transport is not None
        self._answer = answer = Answer(self, timeout_seconds)
        self._is_asked = is_whole
        self._parser = httptools.HttpResponseParser(self)
        self._is_complete = self._may_go_on = self._is_paused = False
        self.on_message_begin()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout_seconds, self._check_time, answer)
        self._transport.write(request)
        return answer

    def end_request(self) -> None:
        """Take note that the whole request was written: another one may follow it."""
        self._is_asked = True

    async def write(self, more: bytes) -> None:
        """Send more of a request."""
        if self._answer is not None and self._transport is not None:
            self._answer.active = perf_counter()
            self._transport.write(more)
            if self._room is not None:
                await self._room.wait()

    def go_on(self) -> None:
        """Take more from the other server: the reader has read."""
        if self._is_paused and self._answer is not None and self._transport is not None:
            self._is_paused = False
            self._answer.active = perf_counter()
            self._transport.resume_reading()

    def fail(self, error: NoAnswer) -> None:
        """End the exchange under way, if there is one, before its time."""
        answer = self._leave()
        if answer is not None:
            self.abort()
            answer.over(error)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._room = asyncio.Event()

    def resume_writing(self) -> None:
        if self._room is not None:
            self._room.set()
        self._room = None

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # nobody asked: what a server says before it closes
            self.abort()
            return
        answer.was_heard, answer.active = True, perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._is_complete:
                self.fail(Unheard(f"What came is no HTTP answer: {error}."))
                return
            self._may_go_on = False
        if self._is_complete:
            self._finish(is_reusable=self._may_go_on)
        elif not answer.head.done() and self._head_bytes > LONGEST_HEAD:
            self.fail(Unheard("The answer's headers are larger than allowed."))
        else:
            if answer.unread > _MOST_UNREAD and not self._is_paused and self.is_usable:
                self._is_paused = True
                cast(asyncio.Transport, self._transport).pause_reading()
            answer.wake()

    def eof_received(self) -> bool:
        if self._answer is not None and self._ends_with_connection:
            self._finish(is_reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._forget(self)
        self.resume_writing()
        self.fail(Unheard("The connection was closed before the answer was whole."))

    # the parser's side

    def on_message_begin(self) -> None:
        """Begin a message; one that nobody asked for is not read."""
        if self._is_complete:
            raise ValueError("more than one answer")
        self._headers: Headers = []
        self._head_bytes = 0
        self._ends_with_connection = self._is_interim = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._is_interim = 100 <= status < 200  # `100 Continue` is no answer yet
        if self._is_interim or self._answer is None:
            return
        named = dict(self._headers)
        coding = named.get(b"transfer-encoding", b"").lower()
        self._ends_with_connection = b"content-length" not in named and b"chunked" not in coding
        self._answer.begin(Head(status, list(self._headers)))  # what follows the body is no header

    def on_body(self, piece: bytes) -> None:
        if self._answer is not None:
            self._answer.add(piece)

    def on_message_complete(self) -> None:
        self._is_complete = not self._is_interim
        self._may_go_on = self._parser.should_keep_alive()  # it forgets this with the next byte

    # the end of an exchange

    def _finish(self, *, is_reusable: bool) -> None:
        answer = self._leave()
        if is_reusable and self._is_asked and self._room is None and self.is_usable:
            self._keep(self)
        else:
            self.abort()
        if answer is not None:
            answer.over(None)

    def _leave(self) -> Answer | None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._timer.cancel()
        return answer

    def _check_time(self, answer: Answer) -> None:
        left = answer.active + answer.timeout_seconds - perf_counter()
        if left <= 0 and not self._is_paused:
            self.fail(TooSlow(f"Nothing came for {answer.timeout_seconds:g} seconds."))
        else:  # a reader who is slow is not the other server's silence
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(left, 1.0), self._check_time, answer)
