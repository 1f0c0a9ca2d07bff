"""The serving process: models in memory, requests in, answers out.

It is apart from the API process, so that a model that takes all processor time, or crashes, takes
nothing else with it.

Requests that wait for the same model are answered as one batch. Nothing waits for a batch to fill:
whatever is there when the model is free goes together.
"""

import asyncio
import contextlib
import functools
import logging
import os
import sys
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.settings import Settings, load_settings
from selftune.jobs.processes import die_with_parent
from selftune.models.sampler import Choice, Completion, Prompt, Sampler, Sampling
from selftune.serve.frames import (
    GREETING,
    Cancel,
    Embedded,
    EmbedRequest,
    Failed,
    Reply,
    Sampled,
    SampleRequest,
    WireChoice,
    WireToken,
    decode_request,
    frame,
    read_frame,
)
from selftune.serve.loader import ModelCache

MOST_IN_BATCH = 32
_log = logging.getLogger("selftune.serving")

Work = SampleRequest | EmbedRequest
Caller = asyncio.StreamWriter


class Service:
    """Queues by model, and one thread that runs models."""

    def __init__(self, settings: Settings) -> None:
        self._models = ModelCache(
            settings.root, most=settings.serving_models, threads=settings.threads
        )
        self._waiting: OrderedDict[tuple[str, str | None], deque[tuple[Work, Caller]]] = (
            OrderedDict()
        )
        self._most_waiting = settings.serving_queue
        self._count = 0
        self._there_is_work = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def attend(self, reader: asyncio.StreamReader, caller: Caller) -> None:
        """Take one connection's requests until it ends; what it still waits for is dropped."""
        caller.write(GREETING)
        while (body := await read_frame(reader)) is not None:
            request = decode_request(body)
            if isinstance(request, Cancel):
                self._drop(caller, request.id)
            elif self._count >= self._most_waiting:
                text = f"{self._count} requests are waiting already: try again in a moment."
                _send(caller, Failed(request.id, "LimitExceeded", text, "rate_limit_exceeded"))
            else:
                self._waiting.setdefault((request.engine, request.folder), deque()).append(
                    (request, caller)
                )
                self._count += 1
                self._there_is_work.set()
        self._drop(caller)
        caller.close()

    async def run(self) -> None:
        """Answer batches for ever, the models in turn."""
        loop = asyncio.get_running_loop()
        while True:
            await self._there_is_work.wait()
            key, queue = self._waiting.popitem(last=False)
            batch = [queue.popleft() for _ in range(min(len(queue), MOST_IN_BATCH))]
            if queue:
                self._waiting[key] = queue
            self._count -= len(batch)
            if not self._waiting:
                self._there_is_work.clear()
            answer = functools.partial(self._answer, key, [work for work, _ in batch])
            replies = await loop.run_in_executor(self._thread, answer)
            for (_, caller), reply in zip(batch, replies, strict=True):
                _send(caller, reply)

    def _drop(self, caller: Caller, number: int | None = None) -> None:
        """Forget one of a caller's requests that wait, or all."""
        for key in list(self._waiting):
            kept = deque(
                (work, who)
                for work, who in self._waiting[key]
                if who is not caller or number not in (None, work.id)
            )
            self._count -= len(self._waiting[key]) - len(kept)
            if kept:
                self._waiting[key] = kept
            else:
                del self._waiting[key]
        if not self._waiting:
            self._there_is_work.clear()

    def _answer(self, key: tuple[str, str | None], works: list[Work]) -> list[Reply]:
        """Run the model on a batch; whatever goes wrong is an answer, and nothing ends."""
        try:
            sampler = self._models.get(*key)
        except Exception as error:  # noqa: BLE001 - a broken model must not end the process
            return [_failed(work, error, f"load {key}") for work in works]
        try:
            return _replies(sampler, works)
        except Exception as error:  # noqa: BLE001 - nor may a bad request
            if len(works) > 1:  # the others of its batch get their answers
                return [reply for work in works for reply in self._answer(key, [work])]
            return [_failed(works[0], error, f"answer by {key}")]


def _replies(sampler: Sampler, works: list[Work]) -> list[Reply]:
    chats = [work for work in works if isinstance(work, SampleRequest)]
    completions = iter(sampler.sample([_prompt(work) for work in chats]) if chats else ())
    replies: list[Reply] = []
    for work in works:
        if isinstance(work, SampleRequest):
            replies.append(_sampled(work, next(completions)))
        else:
            vectors, tokens = sampler.embed(work.texts)
            data = vectors.astype("<f4").tobytes()
            replies.append(Embedded(work.id, data, len(work.texts), tokens))
    return replies


def _failed(work: Work, error: Exception, doing: str) -> Failed:
    """Return the error as an answer; a caller never has to fix what a model folder lacks."""
    if isinstance(error, SelftuneError):
        kind = "Unavailable" if isinstance(error, InvalidInput) else type(error).__name__
        return Failed(work.id, kind, error.message, error.code)
    _log.error("could not %s", doing, exc_info=error)
    text = "The model failed on this request; the server's log says why."
    return Failed(work.id, "Unavailable", text, "model_failed")


def _prompt(work: SampleRequest) -> Prompt:
    """Build the prompt without checking it again: the API did."""
    sampling = Sampling.model_construct(**work.sampling)
    return Prompt.model_construct(messages=tuple(work.messages), sampling=sampling)


def _sampled(work: SampleRequest, completion: Completion) -> Sampled:
    choices = [
        WireChoice(choice.text, choice.finish_reason, _tokens(choice) if work.with_tokens else [])
        for choice in completion.choices
    ]
    usage = completion.usage
    return Sampled(work.id, choices, usage.prompt_tokens, usage.completion_tokens)


def _tokens(choice: Choice) -> list[WireToken]:
    return [
        WireToken(
            token.text,
            list(token.bytes),
            token.logprob,
            [(other.token, list(other.bytes), other.logprob) for other in token.top],
        )
        for token in choice.tokens
    ]


def _send(caller: Caller, reply: Reply) -> None:
    if not caller.is_closing():
        caller.write(frame(reply))


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
