"""How many requests may be on their way: what refusals with 429 teach, and who goes next.

One 429 among many answers says nothing, and its question waits alone. Several in a row, or many
among the last requests, say that the endpoint is full.
"""

import asyncio
from collections import deque

_IN_A_ROW = 5
"""So many requests in a row, all refused: at a random share of 5 % once in three million."""
_HIGH_SHARE = 0.2
_LEAST_SPAN = 40
"""The share is that of the last requests: so many, or as many as may be on their way."""
_CAUTION = 0.1
"""Growth to a width that was too much before, as a share of the usual."""
_NARROWER = 0.8
_LEAST = 0.125
"""A high share alone, without refusals in a row, makes the width no narrower than this share of all."""
_SLEEPERS = 4
"""So many times the widest may sleep before a retry; then nothing new is begun."""


class Width:
    """Requests that may be on their way, from what became of earlier ones. It knows no clock."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._exact = float(most)
        self._too_much = float("inf")
        """The least width that was refused, as far as known."""
        self._reached_at = 0
        """The last request that was sent when the width had grown to that again."""
        self._sent = 0
        self._narrowed_at = 0
        """The last request that was sent when the width was last made narrower."""
        self._is_settling = self._was_answered_since = False
        self._refused: deque[int] = deque()

    @property
    def now(self) -> int:
        """Requests that may be on their way now."""
        return int(self._exact)

    def send(self) -> int:
        """Return the number of the next request."""
        self._sent += 1
        return self._sent

    def answered(self, number: int) -> None:
        """Take note of an answer, and grow."""
        self._is_settling = False
        self._was_answered_since |= number > self._narrowed_at
        if self._exact >= self._too_much and number > self._reached_at:
            self._too_much = float("inf")
        was = self._exact
        self._exact = min(self._most, was + self._step())
        if was < self._too_much <= self._exact:
            self._reached_at = self._sent

    def _step(self) -> float:
        """Return the growth of one answer: double in a round, or by one, or by less near a limit."""
        if self._too_much == float("inf"):
            return 1.0
        return (1.0 if self._exact + 1 < self._too_much else _CAUTION) / self._exact

    def refused(self, number: int, others: int) -> bool:
        """Take note of a 429 while `others` are on their way; return whether all should pause."""
        if number <= self._narrowed_at:  # of the same burst: what is left is what has room
            if self._is_settling:
                self._narrow(others, others + 1)
            return False
        span = max(_LEAST_SPAN, self.now)
        self._refused.append(number)
        while self._refused[0] <= self._sent - span:
            self._refused.popleft()
        if self._is_burst():
            is_hopeless = self._narrowed_at > 0 and not self._was_answered_since
            self._narrow(others, others + 1)
        elif len(self._refused) > _HIGH_SHARE * span:
            is_hopeless = True
            self._narrow(max(self._exact * _NARROWER, self._most * _LEAST), self._exact)
        else:
            return False
        self._refused.clear()
        self._narrowed_at = self._sent
        self._is_settling, self._was_answered_since = True, False
        return is_hopeless

    def _is_burst(self) -> bool:
        last = list(self._refused)[-_IN_A_ROW:]
        return len(last) == _IN_A_ROW and max(last) - min(last) < _IN_A_ROW

    def _narrow(self, width: float, too_much: float) -> None:
        self._exact = max(1.0, min(self._exact, width))
        self._too_much = max(2.0, too_much)


class Pace:
    """Slots for requests: as many as the width says, given in the order of asking for them."""

    def __init__(self, most: int) -> None:
        self._width = Width(most)
        self._most_asleep = _SLEEPERS * most
        self._used = self._asleep = 0
        self._quiet_until = 0.0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._looking: deque[asyncio.Future[None]] = deque()

    @property
    def width(self) -> int:
        """Requests that may be on their way now."""
        return self._width.now

    async def take(self) -> int:
        """Wait for a slot; return the number of the request that it is for."""
        if self._queue or not self._is_open:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give_back()
                raise
        else:
            self._used += 1
        return self._width.send()

    def give_back(self) -> None:
        """Give a slot to whoever is next."""
        self._used -= 1
        self._move()

    async def room(self) -> int:
        """Wait until one more request would be sent at once; return how many would be."""
        await asyncio.sleep(0)  # who was let in before takes the slot first
        while not self._has_room:
            look: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._looking.append(look)
            await look
        return self._width.now - self._used

    async def sleep(self, seconds: float) -> None:
        """Wait before a retry, without a slot."""
        self._asleep += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._asleep -= 1
            self._move()

    def answered(self, number: int) -> None:
        """Take note of an answer."""
        self._width.answered(number)

    def refused(self, number: int, wait_seconds: float) -> None:
        """Take note of a 429 with the wait that it asks for."""
        if self._width.refused(number, self._used - 1):
            loop = asyncio.get_running_loop()
            self._quiet_until = max(self._quiet_until, loop.time() + wait_seconds)
            loop.call_at(self._quiet_until, self._move)

    @property
    def _is_open(self) -> bool:
        return self._used < self._width.now and _now() >= self._quiet_until

    @property
    def _has_room(self) -> bool:
        return self._is_open and not self._queue and self._asleep < self._most_asleep

    def _move(self) -> None:
        """Give free slots to those who wait, in their order, and tell those who look for room."""
        while self._queue and self._is_open:
            turn = self._queue.popleft()
            if not turn.done():
                self._used += 1
                turn.set_result(None)
        while self._looking and self._has_room:
            look = self._looking.popleft()
            if not look.done():
                look.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
