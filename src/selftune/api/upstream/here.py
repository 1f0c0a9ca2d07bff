"""Which models this server answers for, where another account answers for all others."""

import asyncio
import time

from starlette.concurrency import run_in_threadpool

from selftune.core.records import Identity
from selftune.models.listed import is_tuned
from selftune.models.relay import Relay
from selftune.serve.upstream import is_base, was_tuned_here
from selftune.store.store import Store

_REMEMBERED_SECONDS = 1.0
"""A model that was just trained, or named in a file, is answered here within this time."""
_MOST_REMEMBERED = 10_000


class Here:
    """The models that are here, as `serve/upstream.py` has it, and those of `endpoints.toml`."""

    def __init__(self, store: Store, relay: Relay) -> None:
        self._store, self._relay = store, relay
        self._known: dict[tuple[str, str], tuple[float, bool]] = {}
        self._looking: dict[tuple[str, str], asyncio.Future[bool]] = {}

    async def answers(self, caller: Identity, model: str) -> bool:
        """Return whether this server answers for a model."""
        now, key = time.monotonic(), (caller.project_id, model)
        remembered = self._known.get(key)
        if remembered is not None and now - remembered[0] < _REMEMBERED_SECONDS:
            return remembered[1]
        if remembered is not None:  # others go on with what was true just now
            self._known[key] = now, remembered[1]
            return await self._look(key, model)
        if key not in self._looking:  # many callers, one look
            self._looking[key] = asyncio.ensure_future(self._look(key, model))
            self._looking[key].add_done_callback(lambda _: self._looking.pop(key))
        return await asyncio.shield(self._looking[key])

    async def _look(self, key: tuple[str, str], model: str) -> bool:
        is_here = self._relay.find(model) is not None or is_base(self._store.settings, model)
        if not is_here and is_tuned(model):
            is_here = await run_in_threadpool(was_tuned_here, self._store, key[0], model)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = time.monotonic(), is_here
        return is_here
