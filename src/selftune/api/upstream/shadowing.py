"""Ask the replacement what upstream has answered already; nobody waits for it."""

import asyncio
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Scope

from selftune.api.upstream.within import ask
from selftune.models.noted import Heard

MOST_AT_ONCE = 8
"""Others wait for their turn, so that shadows take no room from those who wait for answers."""
MOST_WAITING = 1000
MOST_WAITING_BYTES = 64 * 1024 * 1024
"""Where the replacement falls behind for long, the rest is left out."""
_log = logging.getLogger("selftune.upstream")
Tell = Callable[[Heard | None], None]


class Shadows:
    """The requests to the replacement that are under way, and those that wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._bytes = 0

    def ask(self, scope: Scope, body: bytes, model: str, tell: Tell) -> None:
        """Begin to ask, and `tell` what was answered; None where it was left out."""
        is_full = len(self._running) >= MOST_AT_ONCE + MOST_WAITING
        if is_full or self._bytes > MOST_WAITING_BYTES:
            tell(None)
            return
        self._bytes += len(body)

        def end(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            self._bytes -= len(body)
            if task.cancelled():  # what the caller was answered is told all the same
                tell(None)

        task = asyncio.create_task(self._ask(scope, body, model, tell))
        self._running.add(task)
        task.add_done_callback(end)

    async def close(self) -> None:
        """End what is under way, and what waits."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _ask(self, scope: Scope, body: bytes, model: str, tell: Tell) -> None:
        async with self._turn:
            began = asyncio.get_running_loop().time()
            try:
                heard = await ask(self._app, scope, body, model)
            except Exception:  # noqa: BLE001 - what fails for nobody must not end the server
                _log.exception("a shadow failed")
                seconds = asyncio.get_running_loop().time() - began
                heard = Heard("replacement", model, 500, b"", False, seconds, seconds)
        tell(heard)
