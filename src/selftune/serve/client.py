"""The API's side of the serving process: one connection, many requests at once."""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import TypeVar

import msgspec

from selftune.core import errors
from selftune.core.errors import LimitExceeded, SelftuneError, Unavailable
from selftune.serve.frames import (
    GREETING,
    Cancel,
    Embedded,
    EmbedRequest,
    EndPiece,
    Failed,
    Patience,
    Pieces,
    Reply,
    Sampled,
    SampleRequest,
    WirePiece,
    decode_reply,
    frame,
    read_frame,
)
from selftune.serve.pieces import pieces_of

T = TypeVar("T")
_ATTEMPTS = 2
_CONNECT_PAUSE_SECONDS = 0.05
_log = logging.getLogger("selftune.serving")


class ServingClient:
    """Sends requests to the serving process and waits for the answers.

    When the process ends in the middle, a request of which nothing has come yet is sent once more
    to the next one.
    """

    def __init__(self, socket: Path, *, wait_seconds: float, most_waiting: int) -> None:
        self._socket, self._wait, self._most = socket, wait_seconds, most_waiting
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def sample(self, request: SampleRequest) -> Sampled:
        """Return the answer to a chat, whole.

        Raises:
            SelftuneError: no answer came in time, too many wait, or the model cannot be loaded.

        """
        reply = await self._ask(request)
        assert isinstance(reply, Sampled)
        return reply

    async def stream(self, request: SampleRequest) -> AsyncGenerator[list[WirePiece], None]:
        """Yield the pieces of the answer to a chat, as they come, some at a time; an end last.

        Raises:
            SelftuneError: as `sample`, at any moment.

        """
        request.stream = request.with_tokens = True
        async with contextlib.aclosing(self._replies(request)) as replies:
            async for reply in replies:
                if isinstance(reply, Sampled):
                    yield list(pieces_of(reply))
                else:
                    assert isinstance(reply, Pieces)
                    yield reply.pieces

    async def embed(self, request: EmbedRequest) -> Embedded:
        """Return the vectors of texts."""
        reply = await self._ask(request)
        assert isinstance(reply, Embedded)
        return reply

    async def close(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _ask(self, request: SampleRequest | EmbedRequest) -> Reply:
        """Return the one reply to a request whose answer comes whole."""
        self._check_room()
        for _ in range(_ATTEMPTS):
            pending = _Pending(self._wait)
            try:
                await self._send(request, pending)
                reply = await pending.next()
            finally:
                self._leave(request, pending)
            if reply is not None:
                return reply
        raise _ended_twice()

    async def _replies(self, request: SampleRequest) -> AsyncGenerator[Reply, None]:
        """Yield the replies to a request whose answer may come in pieces."""
        self._check_room()
        for _ in range(_ATTEMPTS):
            pending = _Pending(self._wait)
            has_begun = False
            try:
                await self._send(request, pending)
                while (reply := await pending.next()) is not None:
                    has_begun = True
                    yield reply
                    if pending.is_over:
                        return
            finally:
                self._leave(request, pending)
            if has_begun:
                raise Unavailable(
                    "The serving process ended in the middle of this answer: ask again.",
                    code="model_failed",
                )
        raise _ended_twice()

    def _check_room(self) -> None:
        if len(self._pending) >= self._most:
            raise LimitExceeded(
                "Too many requests are waiting for the model: try again in a moment.",
                code="rate_limit_exceeded",
            )

    async def _send(self, request: SampleRequest | EmbedRequest, pending: "_Pending") -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            writer = await pending.in_time(self._connect())
        request.id = next(self._numbers)
        pending.writer = writer
        self._pending[request.id] = pending
        writer.write(frame(request))

    def _leave(self, request: SampleRequest | EmbedRequest, pending: "_Pending") -> None:
        """Wait for no more replies; the process need not go on with what is not over."""
        self._pending.pop(request.id, None)
        writer = pending.writer
        if writer is not None and not pending.is_over and not writer.is_closing():
            writer.write(frame(Cancel(request.id)))

    async def _connect(self) -> asyncio.StreamWriter:
        async with self._lock:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            reader, self._writer = await self._open()
            self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            with contextlib.suppress(OSError):  # the process is starting, or starting again
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    if await reader.read(len(GREETING)):
                        return reader, writer
                except BaseException:
                    writer.close()
                    raise
                writer.close()
            await asyncio.sleep(_CONNECT_PAUSE_SECONDS)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (body := await read_frame(reader)) is not None:
                reply = decode_reply(body)
                pending = self._pending.get(reply.id)
                if pending is not None:
                    pending.take(reply)
        except msgspec.DecodeError:
            _log.exception("the serving process sent what cannot be read")
        finally:  # nobody waits for what will not come
            writer.close()
            for pending in self._pending.values():
                if pending.writer is writer:
                    pending.end()


class _Pending:
    """What has come for one request and was not read yet, and how long to wait for more."""

    def __init__(self, wait: float) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.is_over = False
        """True when the last reply was read."""
        self._wait = wait
        self._replies: deque[Reply | None] = deque()
        self._coming: asyncio.Future[None] | None = None
        """Done when there is a reply to read; None while nobody waits for one."""
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + wait
        self._timeout: asyncio.Timeout | None = None

    def take(self, reply: Reply) -> None:
        """Take a reply; whatever comes is a reason to wait longer for the rest."""
        if _is_last(reply):
            self._put(reply)
            return
        more = reply.seconds if isinstance(reply, Patience) else 0.0
        self._until = max(self._until, self._loop.time() + self._wait + more)
        if self._timeout is not None and self._timeout.when() is not None:
            self._timeout.reschedule(self._until)
        if not isinstance(reply, Patience):
            self._put(reply)

    def end(self) -> None:
        """Note that the connection ended."""
        self._put(None)

    async def next(self) -> Reply | None:
        """Return the next reply; None where the connection ended before it.

        Raises:
            SelftuneError: the reply is an error, or none came in time.

        """
        if not self._replies:
            self._coming = self._loop.create_future()
            await self.in_time(self._coming)
        reply = self._replies.popleft()
        if reply is not None:
            self.is_over = _is_last(reply)
            if isinstance(reply, Failed):
                raise _error(reply)
        return reply

    def _put(self, reply: Reply | None) -> None:
        self._replies.append(reply)
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(None)

    async def in_time(self, coming: Awaitable[T]) -> T:
        """Return what is waited for.

        Raises:
            Unavailable: it took too long.

        """
        try:
            async with asyncio.timeout_at(self._until) as self._timeout:
                return await coming
        except TimeoutError as late:
            raise Unavailable(
                f"The model did not answer within {self._wait:g} seconds: try again later, or "
                "raise SELFTUNE_SERVING_WAIT_SECONDS.",
                code="server_is_overloaded",
            ) from late
        finally:
            self._timeout = None


def _is_last(reply: Reply) -> bool:
    if isinstance(reply, Pieces):
        return isinstance(reply.pieces[-1], EndPiece)
    return not isinstance(reply, Patience)


def _ended_twice() -> Unavailable:
    return Unavailable(
        "The serving process ended twice on this request: its log says why.", code="model_failed"
    )


def _error(reply: Failed) -> SelftuneError:
    kind: type[SelftuneError] = getattr(errors, reply.kind)
    return kind(reply.message, code=reply.code, param=reply.param)
