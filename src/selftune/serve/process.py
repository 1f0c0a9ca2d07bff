"""The serving process: models in memory, requests in, answers out.

It is apart from the API process, so that a model that takes all processor time, or crashes, takes
nothing else with it.

One thread runs models. Requests that wait for the same model are answered as one batch; nothing
waits for a batch to fill: whatever is there when the model is free goes together. A model that takes
prompts while it answers others (`LiveSampler`) gets them at once, and its steps are taken between
the batches of the others. Models are loaded in threads of their own, while others answer.
"""

import asyncio
import contextlib
import functools
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from selftune.core.errors import Unavailable
from selftune.core.settings import Settings, load_settings
from selftune.jobs.processes import die_with_parent
from selftune.models.live import as_live
from selftune.models.sampler import LiveSampler
from selftune.serve.answering import Asked, Caller, Underway, answer_batch, failed
from selftune.serve.frames import (
    GREETING,
    Cancel,
    Failed,
    Patience,
    Reply,
    decode_request,
    frame,
    read_frame,
)
from selftune.serve.loader import Key, ModelCache
from selftune.serve.queues import Queues

MOST_IN_BATCH = 32


class Service:
    """Queues by model, one thread that runs models, and threads that load them."""

    def __init__(self, settings: Settings) -> None:
        self._models = ModelCache(
            settings.root, most=settings.serving_models, threads=settings.threads
        )
        self._most, self._load_seconds = settings.serving_queue, settings.serving_load_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting = Queues()
        """For models that are there."""
        self._loading = Queues()
        self._loads: dict[Key, asyncio.Task[None]] = {}
        self._underway = Underway(self._say)
        self._in_turn: list[Asked] = []
        self._gone: list[tuple[Caller, int | None]] = []
        self._there_is_work = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._loaders: dict[str, ThreadPoolExecutor] = {}
        """One thread for each engine, so that it makes what its models share once."""

    async def attend(self, reader: asyncio.StreamReader, caller: Caller) -> None:
        """Take one connection's requests until it ends; what it still waits for is dropped."""
        caller.write(GREETING)
        while (body := await read_frame(reader)) is not None:
            request = decode_request(body)
            count = self._waiting.count + self._loading.count + self._underway.count
            if isinstance(request, Cancel):
                self._drop(caller, request.id)
            elif count >= self._most:
                text = f"{count} requests are waiting already: try again in a moment."
                _send(caller, Failed(request.id, "LimitExceeded", text, "rate_limit_exceeded"))
            else:
                self._take(Asked(request, caller))
        self._drop(caller)
        caller.close()

    async def run(self) -> None:
        """Answer for ever, the models in turn."""
        try:
            while True:
                await self._there_is_work.wait()
                await self._turn()
        finally:
            self._underway.news.set()  # the thread of models comes to an end

    async def _turn(self) -> None:
        newcomers = self._newcomers()
        batch = self._waiting.pop_batch(MOST_IN_BATCH)
        self._in_turn = [*batch, *(asked for _, asked in newcomers)]
        await self._answer(batch)
        if newcomers or self._gone or self._underway.keys:
            await self._step(newcomers)
        if not self._waiting.count and not self._underway.keys and not self._gone:
            self._there_is_work.clear()

    async def _answer(self, batch: list[Asked]) -> None:
        if not batch:
            return
        works = [asked.work for asked in batch]
        answer = functools.partial(answer_batch, self._models.get(batch[0].key), works)
        replies = await self._loop.run_in_executor(self._thread, answer)
        for (_, caller), reply in zip(batch, replies, strict=True):
            _send(caller, reply)

    async def _step(self, newcomers: list[tuple[LiveSampler, Asked]]) -> None:
        self._underway.news.clear()
        gone, self._gone = self._gone, []
        is_short = self._waiting.count > 0
        turn = functools.partial(self._underway.turn, newcomers, gone, is_short=is_short)
        await self._loop.run_in_executor(self._thread, turn)

    def _newcomers(self) -> list[tuple[LiveSampler, Asked]]:
        found = []
        for key in self._waiting.keys:
            live = as_live(self._models.get(key))
            if live is not None:
                found += [(live, asked) for asked in self._waiting.pop_chats(key)]
        return found

    def _take(self, asked: Asked) -> None:
        key = asked.key
        if key in self._models:
            self._waiting.add(asked)
            self._wake()
            return
        self._loading.add(asked)
        if key not in self._loads:
            self._loads[key] = asyncio.create_task(self._load(key))
        _send(asked.caller, Patience(asked.work.id, self._load_seconds))
        self._loop.call_later(self._load_seconds, self._give_up, asked)

    def _wake(self) -> None:
        if not self._underway.news.is_set():  # to ask is cheaper than to set
            self._underway.news.set()
        self._there_is_work.set()

    async def _load(self, key: Key) -> None:
        """Load a model, then let those wait for their turn who waited for it."""
        loader = self._loaders.setdefault(key[0], ThreadPoolExecutor(1, f"load-{key[0]}"))
        try:
            sampler = await self._loop.run_in_executor(loader, self._models.load, key)
        except Exception as error:  # noqa: BLE001 - a broken model must not end the process
            for asked in self._loading.pop(key):
                _send(asked.caller, failed(asked.work, error, is_loading=True))
            return
        finally:
            del self._loads[key]
        in_turn = (asked.key for asked in self._in_turn)
        in_use = {*self._waiting.keys, *self._underway.keys, *in_turn}
        self._models.keep(key, sampler, in_use)
        self._waiting.add(*self._loading.pop(key))
        self._wake()

    def _give_up(self, asked: Asked) -> None:
        """Tell who has waited for a model long enough; it goes on loading."""
        if self._loading.remove(asked):
            late = Unavailable(
                f"The model is still loading after {self._load_seconds:g} seconds: ask again in a "
                "moment, or raise SELFTUNE_SERVING_LOAD_SECONDS.",
                code="model_loading",
            )
            _send(asked.caller, failed(asked.work, late))

    def _drop(self, caller: Caller, number: int | None = None) -> None:
        """Forget one of a caller's requests, or all."""
        waited = self._waiting.drop(caller, number) or self._loading.drop(caller, number)
        if number is None or not waited:
            self._gone.append((caller, number))
            self._wake()

    def _say(self, told: Sequence[tuple[Asked, Reply]]) -> None:
        """Send replies; called from the thread of models."""
        self._loop.call_soon_threadsafe(_send_all, told)


def _send(caller: Caller, reply: Reply) -> None:
    if not caller.is_closing():
        caller.write(frame(reply))


def _send_all(told: Sequence[tuple[Asked, Reply]]) -> None:
    for (_, caller), reply in told:
        _send(caller, reply)


async def serve(settings: Settings, path: Path) -> None:
    """Listen on a Unix socket until the process ends."""
    service = Service(settings)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(service.attend, path)
    finally:
        os.umask(before)
    async with server:
        await service.run()


def main() -> None:
    """Run the serving process: `python -m selftune.serve.process SOCKET`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    die_with_parent()
    asyncio.run(serve(load_settings(), Path(sys.argv[1])))


if __name__ == "__main__":
    main()
