"""Supervised training: the mean loss of the tokens that the assistant wrote, by their weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from selftune.train.hf.learner import Learner
from selftune.train.hf.objective import Example, Scores, Totals
from selftune.train.hf.rows import Data
from selftune.train.hf.setup import Prepared, Setup


def prepare(setup: Setup) -> Prepared:
    """Read the files, decide, load the model."""
    renderer, length = setup.renderer, setup.max_length + 1  # to tell what is cut

    def render(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(renderer.training(row, length))

    training, validation = setup.examples(render)
    choice = setup.choose(training)
    setup.show(training[0])
    data = Data(training, validation, setup.order(len(training), choice))
    learner = setup.learner(choice, training)
    return Prepared(Supervised(data, learner), learner, choice.number("learning_rate"))


class Supervised:
    """The objective of a file of conversations."""

    measures: tuple[str, ...] = ("right", "weight")

    def __init__(self, data: Data, learner: Learner) -> None:
        self._data, self._learner = data, learner
        self.total_steps, self.trained_tokens = data.order.total_steps, data.trained_tokens

    def batch(self, step: int) -> Sequence[Example]:
        """Return the rows of a step."""
        return self._data.batch(step)

    def weight(self, batch: Sequence[Example]) -> float:
        """Return the weight of all tokens, so that long answers count by their tokens."""
        total = sum(float(one.weights.sum()) for each in batch for one in each.sequences)
        return total or 1.0

    def losses(
        self, examples: Sequence[Example], scores: Sequence[tuple[Scores, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy, and the weight of the tokens that were right."""
        flat = [one for each in scores for one in each]
        weights = torch.cat([one.weights for one in flat])
        right = torch.cat([one.right for one in flat])
        log_probs = torch.cat([one.log_probs for one in flat])
        measured = torch.stack([(weights * right).sum(), weights.sum()])
        return -(weights * log_probs).sum(), measured

    def metrics(self, step: int, batch: Sequence[Example], totals: Totals) -> dict[str, Any]:
        """Return losses and accuracies of a token."""
        loss, accuracy = self._means(totals)
        found = {"train_loss": loss, "train_mean_token_accuracy": accuracy}
        return found | self._data.validated(step, self._validate)

    def epoch(self, step: int) -> int:
        """Return the epoch that the step belongs to."""
        return self._data.order.epoch(step)

    def keeps(self, step: int) -> bool:
        """Keep a checkpoint at the end of each epoch."""
        return self._data.order.is_epoch_end(step)

    def _validate(self, examples: Sequence[Example]) -> tuple[float, float]:
        return self._means(self._learner.totals(self, examples))

    def _means(self, totals: Totals) -> tuple[float, float]:
        weight = totals["weight"] or 1.0
        return totals["loss"] / weight, min(1.0, totals["right"] / weight)
