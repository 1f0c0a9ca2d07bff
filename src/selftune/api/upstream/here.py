"""Which models this server answers for, where another account answers for all others."""

import asyncio
import time

from starlette.concurrency import run_in_threadpool

from selftune.core.errors import NotFound
from selftune.core.records import Identity
from selftune.models.chosen import catalog_of
from selftune.models.relay import Relay
from selftune.store.models import get_model
from selftune.store.store import Store

_REMEMBERED_SECONDS = 1.0
"""A model that was just trained, or named in a file, is answered here within this time."""
_MOST_REMEMBERED = 10_000


class Here:
    """The models that are here.

    The names of OpenAI's models are aliases of bases here. Where there is an upstream, they are its
    models, unless the home's own catalogue says what they stand for. The name of a model that was
    trained elsewhere is never here by an alias alone: a switch decides.
    """

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
        is_here = self._is_named(model) or await self._has_tuned(key[0], model)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = time.monotonic(), is_here
        return is_here

    def _is_named(self, model: str) -> bool:
        if self._relay.find(model) is not None:
            return True
        if model.startswith("ft:"):
            return False
        found = catalog_of(self._store.settings)
        if any(base.id == model for base in found.base):
            return True
        name = found.snapshot(model)
        return any(alias.id == name and alias.is_own for alias in found.alias)

    async def _has_tuned(self, project_id: str, model: str) -> bool:
        if not model.startswith("ft:"):
            return False
        try:
            await run_in_threadpool(get_model, self._store, project_id, model)
        except NotFound:
            return False
        return True
