"""One base in memory, for all models of this process that stand on it."""

import hashlib
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import torch

from selftune.core.errors import InvalidInput
from selftune.models.hf.adapter_files import read_adapter
from selftune.models.hf.decoding import Decoder
from selftune.models.hf.grammar import Shapes
from selftune.models.hf.loading import Loaded, Precision, fingerprint, free_bytes, load_base
from selftune.models.hf.lora import AdapterBank
from selftune.models.hf.network import Network
from selftune.models.hf.renderer import Renderer

_CACHE_SHARE = 0.5
"""Of the memory that is free once the base is loaded: for what the model has read of prompts."""
_ADAPTER_SHARE = 0.2
"""Of the same: for adapters. What is left is for the arithmetic, and for others."""
_FEWEST = 2048
"""Tokens of the cache at least, whatever the memory: less serves nobody."""

_engines: "WeakValueDictionary[tuple[str, str, str], Engine]" = WeakValueDictionary()
_loading = Lock()
"""Models may be loaded in other threads than the one that answers, and two of a base at once."""


class Engine:
    """A base, its adapters, and the answers under way."""

    def __init__(self, loaded: Loaded) -> None:
        free = free_bytes(loaded.device)
        self.loaded = loaded
        self.bank = AdapterBank(loaded.model, int(free * _ADAPTER_SHARE))
        self.network = Network(loaded, self.bank)
        room = int(free * _CACHE_SHARE) // self.network.bytes_per_token()
        self.decoder = Decoder(self.network, max(_FEWEST, room))
        self._shapes: dict[tuple[str, tuple[int, ...]], Shapes] = {}
        self._threads = 0

    def step(self, threads: int) -> bool:
        """Take the next token of every answer under way; False when there is none."""
        if threads != self._threads:  # torch keeps this for each thread that computes
            torch.set_num_threads(threads)
            self._threads = threads
        return self.decoder.step()

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer can have together."""
        return self.loaded.context

    @property
    def vocabulary(self) -> int:
        """Tokens that the model knows."""
        return self.loaded.vocabulary

    def shapes(self, renderer: Renderer) -> Shapes:
        """Return the compiler of shapes for a tokenizer; models with the same one share it."""
        tokenizer: Any = renderer.tokenizer
        text: str = tokenizer.backend_tokenizer.to_str()
        key = hashlib.sha256(text.encode()).hexdigest(), renderer.stop_ids
        if key not in self._shapes:
            self._shapes[key] = Shapes(tokenizer, self.vocabulary, renderer.stop_ids)
        return self._shapes[key]

    def check(self, adapter: Path) -> None:
        """Read an adapter, to refuse at once what cannot be served. Touches no answers under way.

        Raises:
            InvalidInput: it is none that fits the base.

        """
        read_adapter(adapter, self.loaded.model)


def engine_for(folder: Path, expected: str | None, precision: Precision = "auto") -> Engine:
    """Return the base in a folder, from memory where it is there already.

    Raises:
        InvalidInput: it is no base, or not the one with the `expected` fingerprint.

    """
    found = fingerprint(folder)
    if expected is not None and expected != found:
        raise InvalidInput(
            f"The model was trained on another base than the one in {folder.name!r}: its config or "
            "weights have changed. Put the files back that it was trained on.",
            code="base_differs",
        )
    key = str(folder), found, precision
    with _loading:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = Engine(load_base(folder, precision))
        return engine
