"""How many requests may be on their way: fewer after a 429, more after answers."""

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Pace:
    """A number of slots that halves when the endpoint says `too many`, and grows back by one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._width = float(most)
        self._used = 0
        self._quiet_until = 0.0
        self._changed = asyncio.Condition()

    @property
    def width(self) -> int:
        """Requests that may be on their way now."""
        return int(self._width)

    @asynccontextmanager
    async def slot(self) -> "AsyncIterator[None]":
        """Wait for a slot and for the end of a pause, and hold the slot."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._used < self.width)
            self._used += 1
        try:
            await asyncio.sleep(max(0.0, self._quiet_until - _now()))
            yield
        finally:
            async with self._changed:
                self._used -= 1
                self._changed.notify_all()

    def grow(self) -> None:
        """Take note of an answer: one more slot after as many answers as there are slots."""
        self._width = min(float(self._most), self._width + 1 / self._width)

    def shrink(self, pause_seconds: float) -> None:
        """Take note of a 429: halve once for each pause, and let nobody ask until it is over."""
        if _now() >= self._quiet_until:
            self._width = max(1.0, self._width / 2)
        self._quiet_until = max(self._quiet_until, _now() + pause_seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()
