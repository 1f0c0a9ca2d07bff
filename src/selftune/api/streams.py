"""Answers in pieces: begun before a word is sent, and kept when they are whole."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from starlette.requests import Request

from selftune.api.sampling import while_connected
from selftune.serve.frames import EndPiece, WirePiece

Frames = AsyncGenerator[list[WirePiece], None]
T = TypeVar("T")


async def begun(request: Request, frames: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Wait for the first pieces, and return all.

    Raises:
        SelftuneError: there will be no answer; nothing has been sent, so the caller reads a status.
        ClientDisconnect: the caller has gone.

    """
    first = await while_connected(request, anext(frames))
    return _after(first, frames)


async def kept(frames: Frames, keep: Callable[[list[WirePiece]], Awaitable[None]]) -> Frames:
    """Yield the pieces; what is whole is kept before its end is told."""
    told: list[WirePiece] = []
    async with contextlib.aclosing(frames):
        async for pieces in frames:
            told += pieces
            if isinstance(pieces[-1], EndPiece):
                await keep(told)
            yield pieces


async def together(
    many: Sequence[Frames], at_once: int
) -> AsyncGenerator[tuple[int, list[WirePiece]], None]:
    """Yield the pieces of several answers as they come, each with the number of its answer.

    Raises:
        SelftuneError: what ended one of them ends all.

    """
    room = asyncio.Semaphore(at_once)
    queue: asyncio.Queue[tuple[int, list[WirePiece]] | Exception | None] = asyncio.Queue()

    async def drain(number: int, frames: Frames) -> None:
        try:
            async with room, contextlib.aclosing(frames):
                async for pieces in frames:
                    queue.put_nowait((number, pieces))
            queue.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - it is raised where the pieces are read
            queue.put_nowait(error)

    tasks = [asyncio.create_task(drain(number, frames)) for number, frames in enumerate(many)]
    left = len(tasks)
    try:
        while left:
            found = await queue.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _after(first: T, rest: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    async with contextlib.aclosing(rest):
        yield first
        async for each in rest:
            yield each
