"""Ask every model every item, grade every answer, and hand over each result when it is there.

Async inside, a plain function outside. An answer is written to the log of responses before it
counts; whatever ends a run, the same run again asks only what has no answer there. Models take turns
item by item, so that whatever slows an endpoint down meets all of them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from selftune.core.errors import BudgetSpent, NotFound, SelftuneError
from selftune.evaluate.answering import Answering
from selftune.evaluate.arms import Answerer, question_for
from selftune.evaluate.asked import asked_of, reply_of, sample_from
from selftune.evaluate.calls import Call, asked_result, given_result
from selftune.evaluate.grading import build_scorer, waits
from selftune.evaluate.items import Item
from selftune.evaluate.means import Asked, Means, Reply
from selftune.evaluate.responses import Responses
from selftune.evaluate.results import Result, State
from selftune.evaluate.rounds import Totals
from selftune.evaluate.scorer import Graded, Scorer, guarded
from selftune.evaluate.task import Backing, Progress, Task
from selftune.evaluate.threads import Threads
from selftune.models.asking import run_loop

_GRADING_THREADS = 32
_UNDER_WAY = 1024
"""Most questions that are read ahead, those that wait for another attempt or a grader included."""
_TELL_SECONDS = 0.2
_SYNC_SECONDS = 5.0
_GRACE_SECONDS = 5.0
"""How long answers that are on their way are waited for, when something broke."""


def run_evaluation(
    task: Task,
    backing: Backing,
    responses: Responses,
    on_result: Callable[[Result], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Totals:
    """Carry a task out; return how it went. `on_result` hears results as they come, in any order.

    Raises:
        SelftuneError: no question will be answered any more, the disk is full, or a grader is none.
            What was answered is kept.
        BudgetSpent: the next question would cost too much; what was on its way has arrived.

    """

    async def run() -> Totals:
        return await _Run(task, backing, responses, on_result, on_progress).drive()

    return run_loop(run())


@dataclass
class _Count:
    done: int = 0
    states: Counter[State] = field(default_factory=Counter)


class _Run:
    """One call of `run_evaluation`, made inside its loop."""

    def __init__(
        self,
        task: Task,
        backing: Backing,
        responses: Responses,
        on_result: Callable[[Result], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._task, self._backing, self._responses = task, backing, responses
        self._on_result, self._on_progress = on_result, on_progress
        self._count, self._started = _Count(), monotonic()
        self._loop = asyncio.get_running_loop()
        self._stack = AsyncExitStack()
        self._answering = Answering(backing, task.limits, responses, self._stack)
        self._threads = Threads(_GRADING_THREADS, "grading")
        self._quick, self._slow = self._scorers()
        self._room = asyncio.Semaphore(_UNDER_WAY)
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._planner: asyncio.Task[None] | None = None
        self._ending: BaseException | None = None

    async def drive(self) -> Totals:
        """Open the models, ask, and wait for the last result."""
        async with self._stack:
            telling = asyncio.create_task(self._tell())
            telling.add_done_callback(self._check)
            try:
                await self._finish()
            finally:
                await _cancelled(telling, *self._running)
                self._threads.shutdown()
                await asyncio.to_thread(self._responses.sync)
                self._on_progress(self._progress())
        return self._totals()

    async def _finish(self) -> None:
        """Plan to the end, or to what ends the run; let what is on its way arrive."""
        self._planner = asyncio.create_task(self._plan())
        self._planner.add_done_callback(self._check)
        try:
            await asyncio.wait((self._planner,))
            await self._arrive()
        except asyncio.CancelledError as error:  # Ctrl-C
            self._end(error)
            await self._arrive()
        if self._ending is not None:
            raise self._ending

    async def _arrive(self) -> None:
        """Wait for what is on its way; where something broke, not for long."""
        broken_at: float | None = None
        while self._running:
            await asyncio.wait(self._running, timeout=_TELL_SECONDS)
            if self._is_broken():
                broken_at = monotonic() if broken_at is None else broken_at
                if monotonic() - broken_at > _GRACE_SECONDS:
                    return

    def _is_broken(self) -> bool:
        return self._ending is not None and not isinstance(self._ending, BudgetSpent)

    async def _plan(self) -> None:
        """Begin every call when its turn has come."""
        room: dict[Answerer, int] = {}  # of each answerer, until something else can happen
        for call in self._planned():
            if self._room.locked():
                room.clear()
            await self._room.acquire()
            if call.arm is not None:
                answerer = await self._answering.answerer(call.arm.model, call.arm.endpoint)
                if not room.get(answerer):
                    room.clear()
                    room[answerer] = await answerer.ready()
                room[answerer] -= 1
            begun = self._loop.create_task(self._settle(call))
            self._running.add(begun)
            begun.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Make room."""
        self._running.discard(task)
        self._room.release()
        self._check(task)

    def _check(self, task: "asyncio.Task[None]") -> None:
        """Let a task's error end the run."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        """Plan nothing more; the first error is told."""
        if self._ending is None:
            self._ending = error
            if self._planner is not None:
                self._planner.cancel()

    def _scorers(self) -> tuple[list[tuple[int, Scorer]], list[tuple[int, Scorer]]]:
        """Return graders that only compute, and those that wait, with their places."""
        means = Means(ask=self._ask_from_thread, embed=self._backing.embed)
        quick: list[tuple[int, Scorer]] = []
        slow: list[tuple[int, Scorer]] = []
        for place, grader in enumerate(self._task.graders):
            scorer = build_scorer(grader, means)
            (slow if waits(grader) else quick).append((place, scorer))
        return quick, slow

    def _planned(self) -> Iterator[Call]:
        for item in self._task.items():
            if item.given is not None or not self._task.arms:
                yield Call(item, None, 0)
                continue
            for sample in range(self._task.samples):
                for arm in self._task.arms:
                    yield Call(item, arm, sample)

    async def _settle(self, call: Call) -> None:
        """Bring one call to its result."""
        if call.arm is None:
            sample = call.item.given or {}
            scores = await self._graded(call.item, sample)
            result = given_result(call.item, sample, scores)
        else:
            asked = question_for(call.arm, call.item, call.sample, self._task.seed)
            answer, reused = await self._answering.answer(asked, call.arm.endpoint)
            scores = ()
            if answer.status not in ("failed", "rejected"):
                scores = await self._graded(call.item, sample_from(answer))
            result = asked_result(call, call.arm, answer, scores, reused=reused)
        self._count.done += 1
        self._count.states[result.state] += 1
        self._on_result(result)

    async def _graded(self, item: Item, sample: dict[str, Any]) -> tuple[Graded, ...]:
        """Return what each grader says, in their order.

        One answer at a time, and one in each turn of the loop: what can be sent goes first, so that
        the endpoint never waits for graders.
        """
        async with self._turn:
            await asyncio.sleep(0)
        found = {place: guarded(scorer, item.item, sample) for place, scorer in self._quick}
        if self._slow:
            found |= await self._loop.run_in_executor(
                self._threads,
                lambda: {place: guarded(each, item.item, sample) for place, each in self._slow},
            )
        return tuple(found[place] for place in sorted(found))

    def _ask_from_thread(self, asked: Asked) -> Reply:
        """Ask a grader's model; called in a grading thread."""
        return asyncio.run_coroutine_threadsafe(self._ask_judge(asked), self._loop).result()

    async def _ask_judge(self, asked: Asked) -> Reply:
        endpoint = self._backing.place(asked.model)
        question = asked_of(asked, endpoint, self._task.salt)
        try:
            answer, _ = await self._answering.answer(question, endpoint)
        except SelftuneError as error:
            is_unknown_here = endpoint is None and isinstance(error, NotFound)
            if not is_unknown_here:  # of that, the API's callers read in each item
                self._end(error)
            raise
        return reply_of(asked, answer)

    async def _tell(self) -> None:
        """Tell of the progress, and have the answers put on the disk itself, while the run goes on."""
        synced = monotonic()
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            self._on_progress(self._progress())
            if monotonic() - synced > _SYNC_SECONDS:
                await asyncio.to_thread(self._responses.sync)
                synced = monotonic()

    def _progress(self) -> Progress:
        done, total, totals = self._count.done, self._task.calls, self._totals()
        left = None if total is None or not done else totals.seconds / done * (total - done)
        return Progress(done=done, total=total, seconds_left=left, totals=totals)

    def _totals(self) -> Totals:
        answering, states = self._answering, self._count.states
        return Totals(
            asked=answering.asked,
            reused=answering.reused,
            requests=answering.requests,
            unanswered=states["unanswered"],
            errored=states["errored"],
            dollars=answering.dollars,
            seconds=monotonic() - self._started,
            lag=answering.lag,
        )


async def _cancelled(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks, and return when they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
