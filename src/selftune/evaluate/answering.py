"""A question -> its answer: from the log, or asked once, within the budget.

An answer is written to the log before it counts. A question that is on its way already, because two
items are alike, is not asked a second time.
"""

import asyncio
from contextlib import AsyncExitStack

from selftune.core.errors import BudgetSpent
from selftune.evaluate.arms import Answerer
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.meter import Meter
from selftune.evaluate.responses import Responses
from selftune.evaluate.task import Backing
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint, connection_of

_SPENT = (
    "The budget is spent: the next question may use more than is left (a smaller `max_tokens` sets "
    "less aside). What was answered is kept; the same run again goes on with a new budget as large."
)


class Answering:
    """All that answers in a run: models of items and those of graders; made inside its loop."""

    def __init__(
        self, backing: Backing, limits: Limits, responses: Responses, stack: AsyncExitStack
    ) -> None:
        self._backing, self._responses, self._stack = backing, responses, stack
        self._meter = Meter(limits, backing.rates_of)
        self._opening = asyncio.Lock()
        self._answerers: dict[tuple[str, str | None], Answerer] = {}
        self._on_their_way: dict[str, asyncio.Future[None]] = {}
        self._spending, self._counted = asyncio.Lock(), asyncio.Event()
        self.asked = 0
        self.reused = 0

    @property
    def requests(self) -> int:
        """Requests that were sent, repeated attempts too."""
        return sum(each.requests for each in self._answerers.values())

    @property
    def lag(self) -> float:
        """How late this process was, as a share of the median latency."""
        return max((each.lag for each in self._answerers.values()), default=0.0)

    @property
    def dollars(self) -> float | None:
        """What was spent; None where a price or a usage is not known."""
        return self._meter.dollars

    async def answer(self, asked: Question, endpoint: Endpoint | None) -> tuple[Answer, bool]:
        """Return the answer to a question, and whether it was there already.

        Raises:
            BudgetSpent: it may cost more than is left.
            SelftuneError: no question will be answered any more, or the disk is full.

        """
        while (other := self._on_their_way.get(asked.key)) is not None:
            await asyncio.wait((other,))
        known = self._responses.get(asked.key)
        if known is not None:
            self.reused += 1
            return known, True
        arrived = self._on_their_way[asked.key] = asyncio.get_running_loop().create_future()
        try:
            return await self._ask(asked, endpoint), False
        finally:
            del self._on_their_way[asked.key]
            arrived.set_result(None)

    async def answerer(self, model: str, endpoint: Endpoint | None) -> Answerer:
        """Return what answers for a model: one for all models of an endpoint."""
        key = (model, None) if endpoint is None else connection_of(endpoint)
        if key not in self._answerers:
            async with self._opening:
                if key not in self._answerers:
                    opened = self._backing.open(model, endpoint)
                    self._answerers[key] = await self._stack.enter_async_context(opened)
        return self._answerers[key]

    async def _ask(self, asked: Question, endpoint: Endpoint | None) -> Answer:
        answerer = await self.answerer(str(asked.body["model"]), endpoint)
        if self._meter.has_budget:
            await self._set_aside(asked, endpoint)
        answer = await answerer.answer(asked)
        self._responses.add(answer)
        self._meter.count(asked, endpoint, answer)
        self._counted.set()
        self.asked += 1
        return answer

    async def _set_aside(self, asked: Question, endpoint: Endpoint | None) -> None:
        """Wait until the most that a question may use is free: what is on its way may use less."""
        async with self._spending:
            while not self._meter.allows(asked, endpoint):
                if not self._meter.is_waiting:
                    raise BudgetSpent(_SPENT)
                self._counted.clear()
                await self._counted.wait()
