"""One HTTP/1.1 connection: a request goes out, its whole answer comes back, with its times.

Times are taken where bytes are written and read, not where somebody waits for them, so that a busy
process does not call its own slowness the endpoint's.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import NamedTuple, Protocol, cast

import httptools

LONGEST_HEAD = 64 * 1024
_LONGEST_ANSWER = 64 * 1024 * 1024
OnPiece = Callable[[bytes], None]


class NoAnswer(Exception):
    """A request was not answered; in words."""


class NeverSent(NoAnswer):
    """There was no connection, so that nothing can have been paid for."""


class Untrusted(NeverSent):
    """The certificate is not accepted; the next attempt will end alike."""


class Unheard(NoAnswer):
    """The request was sent, and no whole answer came."""


class TooSlow(Unheard):
    """The answer took longer than allowed."""


class Reply(NamedTuple):
    """An answer, whatever its status."""

    status: int
    headers: Mapping[bytes, bytes]
    """Names in lower case."""
    body: bytes
    """Empty where the pieces went to `on_piece`."""
    sent: float
    """When the last byte of the request was written, by `time.perf_counter`."""
    ended: float
    """When the last byte of the answer was read."""

    @property
    def seconds(self) -> float:
        """How long the answer took."""
        return self.ended - self.sent


class Owner(Protocol):
    """What a connection belongs to."""

    def keep(self, connection: "Connection") -> None:
        """Take back a connection that may be used again."""

    def forget(self, connection: "Connection") -> None:
        """Take note that a connection is closed."""

    def hand_over(self, future: "asyncio.Future[Reply]", reply: Reply) -> None:
        """Wake up who waits for a reply."""


class Line(asyncio.Protocol):
    """A connection as a pool sees it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()


class Connection(Line):
    """One connection; between `send` and the end of the answer it is in use."""

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self._owner = owner
        self._waiting: asyncio.Future[Reply] | None = None
        self._is_writing = False

    def send(
        self, request: bytes, timeout_seconds: float, on_piece: OnPiece | None
    ) -> "asyncio.Future[Reply]":
        """Send a request; what is returned will hold its answer."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        self._on_piece = on_piece
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._is_complete = self._may_go_on = False
        self.on_message_begin()
        self._timer = loop.call_later(timeout_seconds, self._end_waiting, timeout_seconds)
        assert self._transport is not None
        self._sent = perf_counter()
        self._transport.write(request)
        if not self._is_writing:
            self._sent = perf_counter()
        return self._waiting

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # With hardly room to buffer in, writing is done at once, and the rest of a long request is
        # said to have gone when it has. With none at all, asyncio's TLS would always say that it waits.
        self._transport.set_write_buffer_limits(high=1)

    def pause_writing(self) -> None:
        self._is_writing = True

    def resume_writing(self) -> None:
        self._is_writing = False
        self._sent = perf_counter()

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:  # nobody asked: what a server says before it closes
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._is_complete:
                self._fail(Unheard(f"What came is no HTTP answer: {error}."))
                return
            self._may_go_on = False
        if self._is_complete:
            self._finish(is_reusable=self._may_go_on and not self._is_writing)
        elif self._received > (_LONGEST_ANSWER if self._has_head else LONGEST_HEAD):
            self._fail(Unheard("The answer is larger than allowed."))

    def eof_received(self) -> bool:
        if self._waiting is not None and self._has_head and self._ends_with_connection:
            self._status = self._parser.get_status_code()
            self._finish(is_reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.forget(self)
        self._fail(Unheard("The connection was closed before the answer was whole."))

    # the parser's side

    def on_message_begin(self) -> None:
        """Begin a message; one that nobody asked for is not read."""
        if self._is_complete:
            raise ValueError("more than one answer")
        self._has_head = self._ends_with_connection = False
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._has_head = True
        if self._is_interim:
            return
        coding = self._headers.get(b"transfer-encoding", b"")
        self._ends_with_connection = (
            b"content-length" not in self._headers and b"chunked" not in coding.lower()
        )
        kind = self._headers.get(b"content-type", b"")
        if self._parser.get_status_code() != 200 or not kind.startswith(b"text/event-stream"):
            self._on_piece = None

    @property
    def _is_interim(self) -> bool:
        return 100 <= int(self._parser.get_status_code()) < 200  # `100 Continue` is no answer yet

    def on_body(self, piece: bytes) -> None:
        if self._on_piece is None:
            self._pieces.append(piece)
        else:
            self._on_piece(piece)

    def on_message_complete(self) -> None:
        self._is_complete = not self._is_interim
        self._status = self._parser.get_status_code()
        self._may_go_on = self._parser.should_keep_alive()  # it forgets this with the next byte

    # the end of an exchange

    def _finish(self, *, is_reusable: bool) -> None:
        waiting = self._end()
        ended, body = perf_counter(), b"".join(self._pieces)
        self._pieces = []
        reply = Reply(self._status, self._headers, body, self._sent, ended)
        if is_reusable:
            self._owner.keep(self)
        else:
            self.abort()
        if waiting is not None:
            self._owner.hand_over(waiting, reply)

    def _fail(self, error: NoAnswer) -> None:
        waiting = self._end()
        self.abort()
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def _end_waiting(self, seconds: float) -> None:
        self._fail(TooSlow(f"No answer came within {seconds:g} seconds."))

    def _end(self) -> "asyncio.Future[Reply] | None":
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._timer.cancel()
        return waiting
