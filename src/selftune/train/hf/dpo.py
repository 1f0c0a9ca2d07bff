"""Direct preference optimisation: the preferred answer becomes likelier than the other one.

Rafailov et al. 2023, equation 7. What both answers' log-probabilities were before training is
computed once, by the model as it is then, so that no second model is kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftune.train.hf.learner import Learner
from selftune.train.hf.objective import Example, Scores, Totals
from selftune.train.hf.rows import Data
from selftune.train.hf.setup import Prepared, Setup


def prepare(setup: Setup) -> Prepared:
    """Read the files, decide, load the model, and ask it for the log-probabilities before."""
    renderer, length = setup.renderer, setup.max_length + 1  # to tell what is cut

    def render(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(renderer.preference(row, length))

    training, validation = setup.examples(render, fewest=2)
    choice = setup.choose(training)
    setup.show(training[0])
    learner = setup.learner(choice, training)
    known = with_reference([*training, *validation], learner, setup.run.folder / "reference.npy")
    order = setup.order(len(training), choice)
    data = Data(known[: len(training)], known[len(training) :], order)
    objective = Preference(data, learner, choice.number("beta"))
    return Prepared(objective, learner, choice.number("learning_rate"))


def with_reference(examples: list[Example], learner: Learner, kept: Path) -> list[Example]:
    """Return the examples with the log-probabilities of their two answers before training."""
    found = np.load(kept) if kept.exists() else None
    if found is None or found.shape != (len(examples), 2):
        found = _reference(examples, learner)
        if learner.peers.is_first:
            partial = kept.with_suffix(".partial.npy")
            np.save(partial, found)
            partial.replace(kept)
    return [
        replace(example, facts=tuple(pair))
        for example, pair in zip(examples, found.tolist(), strict=True)
    ]


def _reference(examples: list[Example], learner: Learner) -> np.ndarray:
    """Return the sums of log-probabilities, a row for each pair; every process does its share."""
    mine = learner.peers.share(range(len(examples)))
    scores = learner.scores([examples[row] for row in mine])
    sums = [[float(one.log_probs.sum()) for one in pair] for pair in scores]
    found = np.zeros((len(examples), 2))
    for part in learner.peers.gather(list(zip(mine, sums, strict=True))):
        for row, pair in part:
            found[row] = pair
    return found


class Preference:
    """The objective of a file of pairs."""

    measures: tuple[str, ...] = ("right", "chosen", "rejected")

    def __init__(self, data: Data, learner: Learner, beta: float) -> None:
        self._data, self._learner, self._beta = data, learner, beta
        self.total_steps, self.trained_tokens = data.order.total_steps, data.trained_tokens

    def batch(self, step: int) -> Sequence[Example]:
        """Return the pairs of a step."""
        return self._data.batch(step)

    def weight(self, batch: Sequence[Example]) -> float:
        """Return how many pairs there are: each counts the same."""
        return float(len(batch))

    def losses(
        self, examples: Sequence[Example], scores: Sequence[tuple[Scores, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of -log sigmoid(margin), how often the margin is right, and rewards."""
        sums = torch.stack([torch.stack([one.log_probs.sum() for one in pair]) for pair in scores])
        before = torch.tensor([example.facts for example in examples], device=sums.device)
        rewards = self._beta * (sums - before)
        margins = rewards[:, 0] - rewards[:, 1]
        measured = torch.stack(
            [(margins > 0).float().sum(), rewards[:, 0].sum(), rewards[:, 1].sum()]
        )
        return -functional.logsigmoid(margins).sum(), measured

    def metrics(self, step: int, batch: Sequence[Example], totals: Totals) -> dict[str, Any]:
        """Return loss and accuracy, which is how often the preferred answer has more reward."""
        count = len(batch)
        found = {
            "train_loss": totals["loss"] / count,
            "train_mean_token_accuracy": totals["right"] / count,
        }
        if self._data.is_validated(step):
            self._tell(step, count, totals)
        return found | self._data.validated(step, self._validate)

    def epoch(self, step: int) -> int:
        """Return the epoch that the step belongs to."""
        return self._data.order.epoch(step)

    def keeps(self, step: int) -> bool:
        """Keep a checkpoint at the end of each epoch."""
        return self._data.order.is_epoch_end(step)

    def _tell(self, step: int, count: int, totals: Totals) -> None:
        chosen, rejected = totals["chosen"] / count, totals["rejected"] / count
        self._learner.run.note(
            f"rewards-{step}",
            f"Rewards at step {step}: preferred {chosen:.3f}, non-preferred {rejected:.3f}, "
            f"margin {chosen - rejected:.3f}",
            {"step": step, "chosen": chosen, "rejected": rejected, "margin": chosen - rejected},
        )

    def _validate(self, examples: Sequence[Example]) -> tuple[float, float]:
        totals = self._learner.totals(self, examples)
        return totals["loss"] / len(examples), totals["right"] / len(examples)
