"""Answers as the decoder learns them: what it writes on its own, and what it copies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selftune.models.builtin.copying import Source, continuing
from selftune.models.builtin.decoder import NO_TOKEN
from selftune.models.builtin.tree import END
from selftune.models.builtin.weights import WIDTH
from selftune.models.tokens import byte_tokens, token_bytes

_COPIED_SHARE = 0.95
_CONSTANT_SHARE = 0.9
_ONLY_COPIED = -1


def choose_vocabulary(answers: Sequence[Sequence[int]], sources: Sequence[Source]) -> np.ndarray:
    """Return the tokens that the decoder can write on its own; index 0 is no token.

    A token that the question has nearly whenever the answer has it, and that not all answers have,
    is left out: then it can only be copied, which also works for what was never seen.
    """
    times, copied, rows = Counter[int](), Counter[int](), Counter[int]()
    for answer, source in zip(answers, sources, strict=True):
        present = frozenset(source.tokens.tolist())
        times.update(answer)
        copied.update(token for token in answer if token in present)
        rows.update(set(answer))
    written = {
        token
        for token, count in times.items()
        if copied[token] < _COPIED_SHARE * count or rows[token] > _CONSTANT_SHARE * len(answers)
    }
    return np.array([END - 1, END, *sorted(written | set(byte_tokens()))], np.int64)


@dataclass(frozen=True)
class Written:
    """One answer, step by step; the last step is its end."""

    before: np.ndarray
    """Index in the vocabulary of the token before each step."""
    targets: np.ndarray
    """Index in the vocabulary of each step's token; -1 when it can only be copied."""
    copies: np.ndarray
    """Whether a unit of the source is each step's token, shape (steps, units)."""
    kinds: np.ndarray
    """Which kind of continuation each unit is, shape (steps, units)."""
    copied: np.ndarray
    """Mean state of what was just copied, shape (steps, 384)."""
    coming: np.ndarray
    """Mean state of what would continue it, shape (steps, 384)."""


def write_out(answer: Sequence[int], index_of: dict[int, int], source: Source) -> Written:
    """Return an answer as the decoder learns it.

    Tokens that can be neither written nor copied where they stand are spelled byte by byte.
    """
    path: list[int] = []
    matched = np.zeros(len(source.tokens), np.int64)
    before, kinds, copies, copied, coming = [NO_TOKEN], [], [], [], []
    waiting = [*answer, END][::-1]
    while waiting:
        token = waiting.pop()
        grown = source.grown(matched)
        kind = continuing(source, grown)
        here = (source.tokens == token) & (kind > 0)
        if token not in index_of and not here.any():
            waiting += [byte_tokens()[value] for value in reversed(token_bytes(token))]
            continue
        path.append(token)
        kinds.append(kind)
        copies.append(here)
        copied.append(source.around(matched))
        coming.append(source.around(grown))
        matched = source.matched(grown, token)
        before.append(index_of.get(token, NO_TOKEN))
    return Written(
        before=np.array(before[:-1]),
        targets=np.array([index_of.get(token, _ONLY_COPIED) for token in path]),
        copies=np.stack(copies),
        kinds=np.stack(kinds),
        copied=np.stack(copied),
        coming=np.stack(coming),
    )


@dataclass(frozen=True)
class Batch:
    """Several answers, padded to the longest; shapes begin with (rows, steps) or (rows, units)."""

    before: Tensor
    targets: Tensor
    real: Tensor
    """Whether a step belongs to its row's answer."""
    copies: Tensor
    kinds: Tensor
    copied: Tensor
    coming: Tensor
    states: Tensor
    previous: Tensor
    shapes: Tensor
    absent: Tensor
    """Whether a unit is padding."""


def make_batch(sources: Sequence[Source], answers: Sequence[Written]) -> Batch:
    """Return rows padded to the longest answer and the longest source."""
    count = len(answers)
    steps = max(len(written.before) for written in answers)
    units = max(1, *(len(source.tokens) for source in sources))
    batch = Batch(
        before=torch.zeros(count, steps, dtype=torch.long),
        targets=torch.full((count, steps), _ONLY_COPIED),
        real=torch.zeros(count, steps, dtype=torch.bool),
        copies=torch.zeros(count, steps, units, dtype=torch.bool),
        kinds=torch.zeros(count, steps, units, dtype=torch.long),
        copied=torch.zeros(count, steps, WIDTH),
        coming=torch.zeros(count, steps, WIDTH),
        states=torch.zeros(count, units, WIDTH),
        previous=torch.zeros(count, units, WIDTH),
        shapes=torch.zeros(count, units, dtype=torch.long),
        absent=torch.ones(count, units, dtype=torch.bool),
    )
    for row, (source, written) in enumerate(zip(sources, answers, strict=True)):
        long, wide = written.copies.shape
        batch.real[row, :long], batch.absent[row, :wide] = True, False
        for name in ("before", "targets", "copied", "coming"):
            getattr(batch, name)[row, :long] = torch.from_numpy(getattr(written, name))
        for name in ("copies", "kinds"):
            getattr(batch, name)[row, :long, :wide] = torch.from_numpy(getattr(written, name))
        for name in ("states", "previous", "shapes"):
            getattr(batch, name)[row, :wide] = torch.from_numpy(getattr(source, name))
    return batch
