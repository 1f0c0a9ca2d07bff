"""Prompts to a model that takes new ones while it answers others, all answered together."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple

from selftune.models.live import Gathered, Live
from selftune.models.sampler import Completion, LiveSampler, Piece, Prompt


class Taken(NamedTuple):
    """An answer, and when it was begun and ended."""

    began: float
    ended: float
    completion: Completion


class Together:
    """Steps one model in a thread for as long as anybody waits for it."""

    def __init__(self, sampler: LiveSampler, thread: ThreadPoolExecutor) -> None:
        self._live, self._thread = Live(sampler), thread
        self._loop = asyncio.get_running_loop()
        self._newcomers: list[tuple[Prompt, asyncio.Future[Taken]]] = []
        self._news = threading.Event()
        self._stepping: asyncio.Task[None] | None = None

    async def answer(self, prompt: Prompt) -> Taken:
        """Return the answer to a prompt; raises what ended it."""
        future: asyncio.Future[Taken] = self._loop.create_future()
        self._newcomers.append((prompt, future))
        self._news.set()
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._step())
        return await future

    def close(self) -> None:
        """Let the thread end."""
        if self._stepping is not None:
            self._stepping.cancel()
        self._news.set()

    async def _step(self) -> None:
        while self._newcomers or self._live.is_busy:
            newcomers, self._newcomers = self._newcomers, []
            self._news.clear()
            await self._loop.run_in_executor(self._thread, self._turn, newcomers)

    def _turn(self, newcomers: list[tuple[Prompt, asyncio.Future[Taken]]]) -> None:
        for prompt, future in newcomers:
            self._start(prompt, future)
        while self._live.is_busy:
            self._live.step()
            if self._news.is_set():
                return

    def _start(self, prompt: Prompt, future: asyncio.Future[Taken]) -> None:
        began, gathered = perf_counter(), Gathered(prompt.sampling.n)

        def tell(piece: Piece | Exception) -> None:
            gathered.take(piece)
            if gathered.is_whole:
                self._loop.call_soon_threadsafe(_end, future, gathered, began, perf_counter())

        self._live.start(prompt, tell)


def _end(future: asyncio.Future[Taken], gathered: Gathered, began: float, ended: float) -> None:
    if future.done():  # nobody waits any longer
        return
    try:
        future.set_result(Taken(began, ended, gathered.completion()))
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
        future.set_exception(error)
