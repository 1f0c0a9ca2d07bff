"""Models in memory, the least recently used one out first. Used from one thread."""

from collections import OrderedDict
from pathlib import Path

from selftune.core import plugins
from selftune.models import samplers
from selftune.models.sampler import Sampler


class ModelCache:
    """Loads samplers and keeps the last few."""

    def __init__(self, root: Path, *, most: int, threads: int) -> None:
        self._root, self._most, self._threads = root, most, threads
        self._loaded: OrderedDict[tuple[str, str | None], Sampler] = OrderedDict()

    def get(self, engine: str, folder: str | None) -> Sampler:
        """Return a model's sampler; `folder` is relative to the home folder.

        Raises:
            SelftuneError: the model cannot be loaded.

        """
        key = (engine, folder)
        if key not in self._loaded:
            self._loaded[key] = load_sampler(self._root, engine, folder, threads=self._threads)
            while len(self._loaded) > self._most:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def load_sampler(root: Path, engine: str, folder: str | None, *, threads: int = 0) -> Sampler:
    """Load one model in this process."""
    plugin = plugins.load(samplers, engine)
    path = None if folder is None else root / folder
    params = plugin.Params(folder=path, cache=root / "cache", threads=threads)
    sampler: Sampler = plugin.build(params)
    return sampler
