"""Tells the recording process what was asked and answered, without ever waiting for it."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import cast

from selftune.models.noted import MOST_BYTES, Note, frame

_MOST_WAITING = 64 * 1024 * 1024
"""Bytes of notes that wait for the recording process; more are dropped."""
_PAUSE_SECONDS = 0.5
_LAST_SECONDS = 5.0
"""For the recording process to take what is left when the server ends."""
_log = logging.getLogger("selftune.upstream")


class Witness(asyncio.Protocol):
    """A connection to the recording process, made again when it is lost."""

    def __init__(self, path: Path) -> None:
        self.dropped = 0
        """Notes that nobody took."""
        self._path = path
        self._waiting: list[bytes] = []
        self._size = 0
        self._transport: asyncio.WriteTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_lost = asyncio.Event()

    def start(self) -> None:
        """Begin to look for the recording process."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())

    def tell(self, note: Note) -> None:
        """Hand a note over; it waits a while where the recording process is away or behind."""
        body = frame(note)
        transport = self._transport
        written = 0 if transport is None else transport.get_write_buffer_size()
        if len(body) > MOST_BYTES or written + self._size + len(body) > _MOST_WAITING:
            self._drop()
        elif transport is None or transport.is_closing():
            self._waiting.append(body)
            self._size += len(body)
            self.start()
        else:
            transport.write(body)

    async def close(self) -> None:
        """Hand over what waits, and end the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._transport is not None:
            self._transport.close()  # which writes first what is left
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._is_lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._is_lost.clear()
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.writelines(self._waiting)
        self._waiting, self._size = [], 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._is_lost.set()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while self._transport is None:
            try:
                await loop.create_unix_connection(lambda: self, str(self._path))
            except OSError:  # it starts, or starts again
                await asyncio.sleep(_PAUSE_SECONDS)

    def _drop(self) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8 …: a log that cannot flood
            _log.warning("The recording process is away or behind: %d notes lost.", self.dropped)
