"""How late a process is with its own events: the error of every time that it takes."""

import asyncio
from time import perf_counter

_TICK_SECONDS = 0.05


class Lateness:
    """A clock that ticks on the event loop, and notes how long it was kept waiting."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._watched = self._sum = 0.0

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._due = perf_counter() + _TICK_SECONDS
        self._handle = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """Stop watching."""
        if self._handle is not None:
            self._handle.cancel()

    @property
    def seconds(self) -> float:
        """Return how long something that comes at any moment has to wait, on average.

        While the loop is kept busy for t, what comes has to wait for t / 2, and t / 2 times as much
        comes.
        """
        return self._sum / self._watched if self._watched else 0.0

    def _tick(self) -> None:
        late = max(0.0, perf_counter() - self._due)
        self._sum += late * late / 2
        self._watched += _TICK_SECONDS + late
        self.start()
