"""Which models this server answers for, where another account answers for all others."""

import time

from starlette.concurrency import run_in_threadpool

from selftune.core.errors import NotFound
from selftune.core.records import Identity
from selftune.models.chosen import catalog_of
from selftune.models.relay import Relay
from selftune.store.models import get_model
from selftune.store.store import Store

_REMEMBERED_SECONDS = 2.0
"""A model that was just trained is answered here within this time."""
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

    async def answers(self, caller: Identity, model: str) -> bool:
        """Return whether this server answers for a model."""
        if self._relay.find(model) is not None:
            return True
        if model.startswith("ft:"):
            return await self._has_tuned(caller.project_id, model)
        found = catalog_of(self._store.settings)
        if any(base.id == model for base in found.base):
            return True
        name = found.snapshot(model)
        return any(alias.id == name and alias.is_own for alias in found.alias)

    async def _has_tuned(self, project_id: str, model: str) -> bool:
        now, key = time.monotonic(), (project_id, model)
        remembered = self._known.get(key)
        if remembered is not None and now - remembered[0] < _REMEMBERED_SECONDS:
            return remembered[1]
        try:
            await run_in_threadpool(get_model, self._store, project_id, model)
        except NotFound:
            is_here = False
        else:
            is_here = True
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = now, is_here
        return is_here
