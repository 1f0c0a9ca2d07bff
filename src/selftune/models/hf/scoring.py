"""Log-probabilities of given tokens, by the path that serves."""

from collections.abc import Sequence
from pathlib import Path

import torch

from selftune.core.errors import Unavailable
from selftune.models.hf.lora import Adapter
from selftune.models.hf.network import Cached, Network

_AT_ONCE = 16
"""Sequences in one batch."""
_MOST_STEPS = 64
"""Tokens of a sequence that are read one by one, which takes as long as answering does."""


def score(
    network: Network, sequences: Sequence[Sequence[int]], folder: Path | None
) -> list[list[float]]:
    """Return the log-probability of each token after the first.

    The first half of a sequence or more is read at once, as a prompt is; the others token by token
    through the cache, as an answer is.
    """
    adapter = None if folder is None else network.bank.acquire(folder)
    if folder is not None and adapter is None:
        raise Unavailable("All room for adapters is in use: try again in a moment.")
    try:
        found: list[list[float]] = []
        for start in range(0, len(sequences), _AT_ONCE):
            found += _batch(network, sequences[start : start + _AT_ONCE], adapter)
        return found
    finally:
        if adapter is not None:
            network.bank.release(adapter)


def _batch(
    network: Network, sequences: Sequence[Sequence[int]], adapter: Adapter | None
) -> list[list[float]]:
    halves = [max(1, len(ids) // 2, len(ids) - _MOST_STEPS) for ids in sequences]
    found: list[list[float]] = [[] for _ in sequences]
    cached, adapters = Cached(), [adapter] * len(sequences)
    prompts = [list(ids[:half]) for ids, half in zip(sequences, halves, strict=True)]
    logits = network.read(cached, prompts, adapters, every=True).float()
    wide = logits.shape[1]
    for row, (ids, half) in enumerate(zip(sequences, halves, strict=True)):
        known = torch.log_softmax(logits[row, wide - half : wide - 1], dim=-1)
        found[row] += [float(known[at, token]) for at, token in enumerate(ids[1:half])]
    last = logits[:, -1]
    for step in range(max(len(ids) - half for ids, half in zip(sequences, halves, strict=True))):
        known = torch.log_softmax(last.float(), dim=-1)
        following = []
        for row, (ids, half) in enumerate(zip(sequences, halves, strict=True)):
            at = half + step
            if at < len(ids):
                found[row].append(float(known[row, ids[at]]))
            following.append([ids[min(at, len(ids) - 1)]])
        last = network.read(cached, following, adapters)
    return found
