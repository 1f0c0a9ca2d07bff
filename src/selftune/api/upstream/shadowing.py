"""Ask the replacement what upstream has answered already; nobody waits for it."""

import asyncio
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Scope

from selftune.api.upstream.within import ask
from selftune.models.noted import Heard

MOST_AT_ONCE = 8
"""More are left out, so that shadows take no room from those who wait."""
_log = logging.getLogger("selftune.upstream")


class Shadows:
    """The requests to the replacement that are under way."""

    def __init__(self, app: ASGIApp, most: int = MOST_AT_ONCE) -> None:
        self.left_out = 0
        self._app, self._most = app, most
        self._running: set[asyncio.Task[None]] = set()

    def ask(
        self, scope: Scope, body: bytes, model: str, tell: Callable[[Heard | None], None]
    ) -> None:
        """Begin to ask, and `tell` what was answered; None where it was left out."""
        if len(self._running) >= self._most:
            self.left_out += 1
            tell(None)
            return
        task = asyncio.create_task(self._ask(scope, body, model, tell))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _ask(
        self, scope: Scope, body: bytes, model: str, tell: Callable[[Heard | None], None]
    ) -> None:
        began = asyncio.get_running_loop().time()
        try:
            heard = await ask(self._app, scope, body, model)
        except Exception:  # noqa: BLE001 - what fails for nobody must not end the server
            _log.exception("a shadow failed")
            seconds = asyncio.get_running_loop().time() - began
            heard = Heard("replacement", model, 500, b"", False, seconds, seconds)
        tell(heard)
