"""Ask the requests of a batch, some at a time, and be patient with a model that is busy or away."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from selftune.serve.batches.answers import Answers, Reply, with_space
from selftune.serve.batches.lines import Request
from selftune.store.batches import Batch
from selftune.store.store import Store

Ask = Callable[[str, bytes], Awaitable[Reply]]
"""A path and a body -> what the API answers to them."""
Close = Callable[[], Awaitable[None]]
"""Ends what was opened to ask."""
AT_ONCE = 32
"""Requests on their way: a kill repeats no more than these."""
PAUSES_SECONDS = (1, 2, 4, 8, 16, 32, 60, 60, 60, 60)
"""Before each further attempt of a request that finds the model busy or away; longer where it asks
for that."""
QUIET_SECONDS = 600.0
"""Where nothing at all was answered for so long, nobody waits any longer."""
_BUSY = (408, 429, 502, 503, 504)
"""Of this server and of an account upstream: the same request may be answered later."""
_TOO_MANY = 429
_FAILED = 500
_FAILURES = 2
"""Attempts after such an answer: upstream, it may pass; here, it is a mistake that stays."""


class Asking:
    """Asks the requests of one batch that have no answer yet; several tasks may `work` at it."""

    def __init__(
        self, store: Store, batch: Batch, requests: Iterator[Request], answers: Answers, ask: Ask
    ) -> None:
        self._ids, self._url = store.ids, batch.endpoint
        self._requests, self._answers, self._ask = requests, answers, ask
        self._heard = time.monotonic()

    async def work(self) -> None:
        """Ask one request after the other, until none is left."""
        for request in self._requests:
            if request.custom_id not in self._answers.done:
                reply = await self._patiently(bytes(request.body))
                name = self._ids.new("batch_req_")
                with_space(partial(self._answers.add, name, request.custom_id, reply))

    async def _patiently(self, body: bytes) -> Reply:
        failures = 0
        for pause in PAUSES_SECONDS:
            reply = await self._ask(self._url, body)
            failures += reply.status == _FAILED
            may_pass = reply.status == _FAILED and failures <= _FAILURES
            if reply.status not in _BUSY and not may_pass:
                self._heard = time.monotonic()
                return reply
            if time.monotonic() - self._heard > QUIET_SECONDS:
                return reply
            await asyncio.sleep(min(max(pause, reply.wait_seconds), QUIET_SECONDS))
            if reply.status == _TOO_MANY and reply.wait_seconds:
                self._heard = time.monotonic()  # who says when to ask again is not away
        return await self._ask(self._url, body)
