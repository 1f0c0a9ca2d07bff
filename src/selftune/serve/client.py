"""The API's side of the serving process: one connection, many requests at once."""

import asyncio
import contextlib
import itertools
import logging
from pathlib import Path

import msgspec

from selftune.core import errors
from selftune.core.errors import LimitExceeded, SelftuneError, Unavailable
from selftune.serve.frames import (
    GREETING,
    Cancel,
    Embedded,
    EmbedRequest,
    Failed,
    Reply,
    Sampled,
    SampleRequest,
    decode_reply,
    frame,
    read_frame,
)

_CONNECT_PAUSE_SECONDS = 0.05
_log = logging.getLogger("selftune.serving")


class ServingClient:
    """Sends requests to the serving process and waits for the answers.

    When the process ends in the middle, a request is sent once more to the next one: answers come
    back whole, so nothing has reached the caller yet.
    """

    def __init__(self, socket: Path, *, wait_seconds: float, most_waiting: int) -> None:
        self._socket, self._wait, self._most = socket, wait_seconds, most_waiting
        self._numbers = itertools.count(1)
        self._pending: dict[int, tuple[asyncio.Future[Reply], asyncio.StreamWriter]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def sample(self, request: SampleRequest) -> Sampled:
        """Return the answer to a chat.

        Raises:
            SelftuneError: no answer came in time, too many wait, or the model cannot be loaded.

        """
        reply = await self._ask(request)
        assert isinstance(reply, Sampled)
        return reply

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
        if len(self._pending) >= self._most:
            raise LimitExceeded(
                "Too many requests are waiting for the model: try again in a moment.",
                code="rate_limit_exceeded",
            )
        try:
            async with asyncio.timeout(self._wait):
                reply = await self._send(request)
                if reply is None:
                    reply = await self._send(request)
        except TimeoutError as late:
            raise Unavailable(
                f"The model did not answer within {self._wait:g} seconds: try again later, or "
                "raise SELFTUNE_SERVING_WAIT_SECONDS.",
                code="server_is_overloaded",
            ) from late
        if reply is None:
            raise Unavailable(
                "The serving process ended twice on this request: its log says why.",
                code="model_failed",
            )
        if isinstance(reply, Failed):
            raise _error(reply)
        return reply

    async def _send(self, request: SampleRequest | EmbedRequest) -> Reply | None:
        """Send and wait; None when the connection ended before the answer."""
        writer = await self._connect()
        request.id = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[request.id] = future, writer
        writer.write(frame(request))
        try:
            return await future
        except ConnectionError:
            return None
        except asyncio.CancelledError:
            if not writer.is_closing():
                writer.write(frame(Cancel(request.id)))
            raise
        finally:
            self._pending.pop(request.id, None)

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
                future, _ = self._pending.get(reply.id, (None, writer))
                if future is not None and not future.done():
                    future.set_result(reply)
        except msgspec.DecodeError:
            _log.exception("the serving process sent what cannot be read")
        finally:  # nobody waits for what will not come
            writer.close()
            for future, through in self._pending.values():
                if through is writer and not future.done():
                    future.set_exception(ConnectionError("the serving process ended"))


def _error(reply: Failed) -> SelftuneError:
    kind: type[SelftuneError] = getattr(errors, reply.kind)
    return kind(reply.message, code=reply.code)
