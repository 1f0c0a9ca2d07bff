"""What a method of training adds to the one loop: which examples a step has, and what they cost.

The loop knows nothing of methods. It asks for a step's examples, puts their sequences through the
model in micro-batches, hands the objective the log-probabilities, and adds up what comes back. An
objective may sample its examples from the model first, as reinforcement does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

Totals = dict[str, float]
"""Sums over a batch: `loss`, and the objective's own `measures`."""


@dataclass(frozen=True)
class Tokens:
    """One sequence as the model sees it."""

    ids: np.ndarray
    weights: np.ndarray
    """Of predicting each token; 0 is not in the loss. The first token cannot be predicted."""


@dataclass(frozen=True)
class Example:
    """What goes through the model together: the sequences of one row."""

    sequences: tuple[Tokens, ...]
    facts: tuple[float, ...] = ()
    """What the objective needs beside the tokens: an advantage, the log-probability before."""

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(sequence.ids) for sequence in self.sequences)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(len(sequence.ids) for sequence in self.sequences)


class Scores(NamedTuple):
    """What the model says of one sequence: of the tokens whose weight is not 0, in order."""

    log_probs: Tensor
    right: Tensor
    """Where the model's likeliest token is the one that stands there."""
    weights: Tensor


class Objective(Protocol):
    """One method, for one request. Everything it draws comes from generators seeded by step."""

    total_steps: int
    trained_tokens: int
    """Of all epochs."""
    measures: tuple[str, ...]
    """Names of the sums that `losses` returns beside the loss."""

    def batch(self, step: int) -> Sequence[Example]:
        """Return what step `step`, counted from 0, learns from; the same in every process."""
        ...

    def weight(self, batch: Sequence[Example]) -> float:
        """Return what the sum of the batch's losses is divided by, in the loss and its gradient."""
        ...

    def losses(
        self, examples: Sequence[Example], scores: Sequence[tuple[Scores, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of some examples' losses, and their sums of each of `measures`."""
        ...

    def metrics(self, step: int, batch: Sequence[Example], totals: Totals) -> dict[str, Any]:
        """Return the fields of `StepMetrics` after `step` steps, counted from 1.

        Validates where it is time to; `totals` are of the batch, before the step was taken.
        """
        ...

    def epoch(self, step: int) -> int:
        """Return the epoch, counted from 1, that the last of `step` steps belongs to."""
        ...

    def keeps(self, step: int) -> bool:
        """Return whether to keep a checkpoint after so many steps; after the last one, always."""
        ...
