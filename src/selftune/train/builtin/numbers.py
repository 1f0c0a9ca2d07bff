"""Train a number: ridge regression of its logarithm on meaning and words, in one exact pass.

A step adds a batch to the normal equations; the loss that it reports is of predictions made before
the batch was seen. A second epoch counts every row twice, which is the same as half the ridge. Of
the features, only those that some row has are solved for: the weight of any other is exactly zero.
"""

from collections import Counter

import numpy as np

from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.folder import ModelFiles
from selftune.models.builtin.heads import NUMBER_WORDS, parse_number, write_number
from selftune.models.builtin.weights import Arrays
from selftune.models.builtin.words import buckets, features, inverse_frequencies
from selftune.models.tokens import encode
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.task import Plan, Scores, folds, overlap

RIDGES = (0.3, 1.0, 3.0)
_FOLDS = 5
_MOST_COMPARED = 3000
_LEAST = 1e-6
_SOLVES_PER_EPOCH = 8


class NumberTask:
    """A `Task` for one number in a template."""

    def __init__(self, examples: Examples, encoder: Encoder) -> None:
        self._examples, self._encoder, self._ridge = examples, encoder, 1.0
        pieces = split_pieces(examples.texts, examples.reading.pieces)
        self.lengths = [len(piece.ids) for piece in pieces]
        self._frequencies = inverse_frequencies([buckets(text) for text in examples.texts])
        wide = self._wide(encoder.embed_pieces(pieces), examples.texts)
        self._present, self._width = np.flatnonzero(wide.any(0)), wide.shape[1]
        self._features = wide[:, self._present]
        parsed = [parse_number(target) for target in examples.targets]
        shapes = Counter((p[1], p[2]) for p in parsed if p is not None)
        self._template, self._decimals = shapes.most_common(1)[0][0]
        self._logs = log_numbers(examples)
        self._mean = float(self._logs.mean())
        width = len(self._present)
        self._gram = np.zeros((width, width), np.float32)
        self._moment = np.zeros(width, np.float32)
        self._weight = np.zeros(width, np.float32)
        self._spread = float(np.abs(self._logs - np.median(self._logs)).mean())

    def step(self, rows: list[int], index: int, plan: Plan) -> Scores:
        """Learn from one batch; return how well it was answered before."""
        batch, logs = self._features[rows], self._logs[rows]
        scores = self._score(batch, [self._examples.targets[row] for row in rows])
        self._gram += batch.T @ batch
        self._moment += batch.T @ (logs - self._mean).astype(np.float32)
        every = max(1, plan.steps_per_epoch // _SOLVES_PER_EPOCH)
        if (index + 1) % every == 0 or (index + 1) % plan.steps_per_epoch == 0:
            self._solve(plan.learning_rate_multiplier)
        return scores

    def evaluate(self, texts: list[str], targets: list[str]) -> Scores:
        """Answer rows that are not learned from."""
        pieces = split_pieces(texts, self._examples.reading.pieces)
        vectors = self._encoder.embed_pieces(pieces)
        return self._score(self._wide(vectors, texts)[:, self._present], targets)

    def choose_ridge(self, seed: int) -> dict[float, float]:
        """Take the ridge with the least absolute error in cross-validation; return all errors."""
        wide, logs = self._features, self._logs
        if len(logs) > _MOST_COMPARED:  # the choice among three does not need more
            sample = np.random.default_rng(seed).permutation(len(logs))[:_MOST_COMPARED]
            wide, logs = wide[sample], logs[sample]
        errors = {ridge: _error(wide @ wide.T, logs, ridge, seed) for ridge in RIDGES}
        self._ridge = min(errors, key=errors.__getitem__)
        return errors

    def files(self) -> ModelFiles:
        """Return the model as it stands."""
        low, high = float(self._logs.min()), float(self._logs.max())
        weight = np.zeros(self._width, np.float32)
        weight[self._present] = self._weight
        arrays: Arrays = {
            "numbers.weight": weight,
            "numbers.fit": np.array([self._mean, self._spread]),
            "numbers.range": np.array([low, high]),
            "head.frequencies": self._frequencies,
        }
        return ModelFiles(
            kind="numbers",
            reading=self._examples.reading,
            precision="float32",
            head=arrays,
            config={"template": self._template, "decimals": self._decimals},
            encoder=None,
        )

    def state(self) -> Arrays:
        """Return all that resuming needs."""
        spread = np.array([self._spread])
        return {
            "gram": self._gram,
            "moment": self._moment,
            "weight": self._weight,
            "spread": spread,
        }

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        self._gram, self._moment = state["gram"].copy(), state["moment"].copy()
        self._weight, self._spread = state["weight"].copy(), float(state["spread"][0])

    def _wide(self, vectors: np.ndarray, texts: list[str]) -> np.ndarray:
        return features(vectors, texts, self._frequencies, weight=NUMBER_WORDS)

    def _solve(self, multiplier: float) -> None:
        ridge = self._ridge / multiplier * np.eye(len(self._gram), dtype=np.float32)
        self._weight = np.linalg.solve(self._gram + ridge, self._moment)

    def _score(self, wide: np.ndarray, targets: list[str]) -> Scores:
        """Return the Laplace loss on the log scale, and the accuracy of the written numbers."""
        guesses = self._mean + wide @ self._weight
        logs = np.array([_log(target) for target in targets])
        errors = np.abs(guesses - logs)
        loss = float(np.nanmean(errors) / self._spread + np.log(2 * self._spread))
        accuracies = [
            overlap(
                encode(write_number(float(np.exp(guess)), self._template, self._decimals)),
                encode(target),
            )
            for guess, target in zip(guesses, targets, strict=True)
        ]
        return Scores(loss, float(np.mean(accuracies)))


def log_numbers(examples: Examples) -> np.ndarray:
    """Return the logarithm of each row's number; rows without one count as the median."""
    logs = np.array([_log(target) for target in examples.targets])
    return np.where(np.isnan(logs), np.nanmedian(logs), logs)


def _error(gram: np.ndarray, logs: np.ndarray, ridge: float, seed: int) -> float:
    """Return the mean absolute error in cross-validation, in the number's own unit."""
    fold, total = folds(len(logs), _FOLDS, seed), 0.0
    for number in range(_FOLDS):
        kept, left = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        mean = logs[kept].mean()
        inner = gram[np.ix_(kept, kept)] + ridge * np.eye(len(kept), dtype=np.float32)
        guesses = mean + gram[np.ix_(left, kept)] @ np.linalg.solve(inner, logs[kept] - mean)
        total += float(np.abs(np.exp(guesses) - np.exp(logs[left])).sum())
    return total / len(logs)


def _log(target: str) -> float:
    parsed = parse_number(target)
    return float(np.log(max(parsed[0], _LEAST))) if parsed is not None else float("nan")
