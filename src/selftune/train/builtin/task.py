"""What the training loop asks of a kind of model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from selftune.core.records import Hyperparameters
from selftune.models.builtin.folder import ModelFiles
from selftune.models.builtin.weights import Arrays
from selftune.train.engine import Resolved, TrainingRun


@dataclass(frozen=True)
class Plan:
    """The hyperparameters as numbers, and how much work they are."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    seed: int
    rows: int

    @property
    def steps_per_epoch(self) -> int:
        """Return optimiser steps in an epoch."""
        return -(-self.rows // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Return optimiser steps in all."""
        return self.n_epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """Return the share of the learning rate at a step: a tenth of warm-up, then linear decay."""
        warm = max(1, self.total_steps // 10)
        if step < warm:
            return (step + 1) / warm
        return max(0.0, 1 - (step - warm) / max(1, self.total_steps - warm))


@dataclass(frozen=True)
class Usual:
    """What `auto` means where nothing else is known."""

    epochs: int
    batch: int

    def plan(self, rows: int, seed: int) -> Plan:
        """Return the plan for so many rows."""
        return Plan(self.epochs, self.batch, 1.0, seed, rows)


TUNED, FROZEN, PASSAGES, NUMBERS = Usual(5, 16), Usual(10, 64), Usual(3, 16), Usual(1, 64)


@dataclass(frozen=True)
class Scores:
    """How well a batch or a file is answered."""

    loss: float
    """Mean negative log-likelihood of an answer."""
    accuracy: float
    """Share of tokens of the answer that the likeliest answer has at the same place."""


class Learner(Protocol):
    """What learns from batches."""

    lengths: list[int]
    """Of each row, for batches of like length."""

    def step(self, rows: list[int], index: int, plan: Plan) -> Scores:
        """Learn from one batch; return how well it was answered before."""
        ...


class Task(Learner, Protocol):
    """One model in training."""

    def evaluate(self, texts: list[str], targets: list[str]) -> Scores:
        """Answer rows that are not learned from."""
        ...

    def files(self) -> ModelFiles:
        """Return the model as it stands."""
        ...

    def state(self) -> Arrays:
        """Return all that resuming needs."""
        ...

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        ...


@dataclass(frozen=True)
class Choice:
    """What `auto` decided, and why."""

    values: dict[str, Resolved]
    variant: str
    """`frozen` or `tuned` for labels; empty where there is one way only."""
    answers_weight: float = 1.0
    """Chance that an answer is one of the trained ones; less than one needs the decoder."""

    def number(self, name: str) -> float:
        """Return one hyperparameter."""
        return float(self.values[name].value)


def overlap(likeliest: list[int], wanted: list[int]) -> float:
    """Return the share of wanted tokens that stand at the same place."""
    if not wanted:
        return 1.0
    same = sum(a == b for a, b in zip(likeliest, wanted, strict=False))
    return same / len(wanted)


def folds(rows: int, count: int, seed: int) -> np.ndarray:
    """Return each row's fold, drawn at random."""
    return np.random.default_rng(seed).permutation(rows) % count


def epoch_batches(
    lengths: Sequence[int], size: int, random: np.random.Generator
) -> list[list[int]]:
    """Return one epoch's batches: shuffled, with rows of like length together to pad little."""
    order = random.permutation(len(lengths))
    pool = 16 * size
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool].tolist(), key=lengths.__getitem__)
        batches += [near[at : at + size] for at in range(0, len(near), size)]
    return [batches[index] for index in random.permutation(len(batches))]


def train_quietly(task: Learner, plan: Plan, run: TrainingRun) -> None:
    """Train without a story; stops when the job must stop."""
    index = 0
    for epoch in range(plan.n_epochs):
        random = np.random.default_rng([plan.seed, epoch])
        for rows in epoch_batches(task.lengths, plan.batch_size, random):
            run.check()
            task.step(rows, index, plan)
            index += 1


def filled(wanted: Hyperparameters, usual: Usual, reason: str, variant: str = "") -> Choice:
    """Return the choice in which what the caller left to us has these values, for this reason."""
    defaults: dict[str, int | float] = {
        "n_epochs": usual.epochs,
        "batch_size": usual.batch,
        "learning_rate_multiplier": 1.0,
    }
    values = {}
    for name, default in defaults.items():
        asked = getattr(wanted, name)
        if asked == "auto":
            values[name] = Resolved(value=default, reason=f"auto: {reason}")
        else:
            values[name] = Resolved(value=asked, reason="asked for")
    return Choice(values, variant)
