"""Models in memory, the least recently used one out first, and how they get there."""

from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from selftune.core import plugins
from selftune.models import samplers
from selftune.models.sampler import Sampler
from selftune.serve.remote.sampler import RemoteSampler
from selftune.serve.remote.serving import is_elsewhere

Key = tuple[str, str | None]
"""Engine, and folder relative to the home folder; None is a base."""


class ModelCache:
    """Keeps the last few samplers."""

    def __init__(self, root: Path, *, most: int, threads: int) -> None:
        self._root, self._most, self._threads = root, most, threads
        self._loaded: OrderedDict[Key, Sampler] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._loaded

    def load(self, key: Key) -> Sampler:
        """Load a model without keeping it; for a thread that has time.

        Raises:
            SelftuneError: the model cannot be loaded.

        """
        return load_sampler(self._root, *key, threads=self._threads)

    def keep(self, key: Key, sampler: Sampler, in_use: Collection[Key]) -> None:
        """Keep a model, and let those go that were used longest ago and are not in use."""
        self._loaded[key] = sampler
        for old in list(self._loaded):
            if len(self._loaded) <= self._most:
                return
            if old not in in_use and old != key:
                del self._loaded[old]

    def get(self, key: Key) -> Sampler:
        """Return a model that is kept, and note its use."""
        self._loaded.move_to_end(key)
        return self._loaded[key]


def load_sampler(root: Path, engine: str, folder: str | None, *, threads: int = 0) -> Sampler:
    """Load one model in this process, or return what asks the server that answers for it."""
    if is_elsewhere(engine):
        return RemoteSampler(root, engine, folder)
    plugin = plugins.load(samplers, engine)
    path = None if folder is None else root / folder
    params = plugin.Params(folder=path, cache=root / "cache", threads=threads)
    sampler: Sampler = plugin.build(params)
    return sampler
