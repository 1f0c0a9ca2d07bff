"""Examples that nobody wrote, and a learner for them on a tiny model, for tests of the loop."""

from pathlib import Path
from typing import Any

import numpy as np
from tests.train.recorded import RecordedRun

from selftune.core.records import Hyperparameters, TrainOptions
from selftune.train.engine import StepMetrics, TrainRequest
from selftune.train.hf.adapters import find_start, load_trainee
from selftune.train.hf.choices import kind_of
from selftune.train.hf.learner import Learner, Limit
from selftune.train.hf.loop import Schedule, train
from selftune.train.hf.objective import Example, Objective, Tokens
from selftune.train.hf.peers import Peers
from selftune.train.hf.rows import Data, Order
from selftune.train.hf.supervised import Supervised

ROWS, BATCH, EPOCHS = 16, 8, 3
RATE = 5e-3
WIDE = Limit(sequences=64, tokens=100_000)


def tokens(random: np.random.Generator, length: int, learned: int) -> Tokens:
    """Return a sequence whose last tokens are learned."""
    weights = np.zeros(length, np.float32)
    weights[length - learned :] = 1
    return Tokens(random.integers(0, 500, length).astype(np.int32), weights)


def examples(lengths: tuple[int, ...] | None = None, seed: int = 0) -> list[Example]:
    """Return rows of very different lengths, of which very different parts are learned."""
    random = np.random.default_rng(seed)
    drawn = lengths or tuple(int(n) for n in random.integers(6, 90, ROWS))
    return [Example((tokens(random, n, max(1, n // (2 + n % 5))),)) for n in drawn]


def pairs(seed: int = 0) -> list[Example]:
    """Return pairs of answers to the same question."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(ROWS):
        asked = random.integers(0, 500, int(random.integers(4, 30)))
        both = []
        for _ in range(2):
            answer = random.integers(0, 500, int(random.integers(3, 20)))
            ids = np.concatenate([asked, answer]).astype(np.int32)
            weights = np.concatenate([np.zeros(len(asked)), np.ones(len(answer))])
            both.append(Tokens(ids, weights.astype(np.float32)))
        found.append(Example((both[0], both[1])))
    return found


def request_for(folder: Path, file: Path, **options: Any) -> TrainRequest:
    """Return a request with these options."""
    return TrainRequest(
        base_folder=folder,
        training_file=file,
        hyperparameters=Hyperparameters(),
        options=TrainOptions(**options),
        seed=1,
        threads=1,
    )


def learner_for(
    folder: Path, run: RecordedRun, limit: Limit = WIDE, *, packing: bool = False, **options: Any
) -> Learner:
    """Return a learner of a model with adapters of rank 8, or of all of it."""
    request = request_for(folder, folder, **options)
    trainee = load_trainee(request, find_start(request), kind_of(request), 8, 16.0)
    fresh = Limit(limit.sequences, limit.tokens, limit.frugal)
    learner = Learner(trainee, run, fresh, Peers())
    learner.forward.packing = packing
    return learner


def order() -> Order:
    """Return the order that all these runs have."""
    return Order(rows=ROWS, batch_size=BATCH, n_epochs=EPOCHS, seed=0)


def supervised_curve(learner: Learner, run: RecordedRun) -> list[float]:
    """Train; return the loss of each step."""
    rows = examples()
    return curve(learner, run, Supervised(Data(rows, rows[:3], order()), learner))


def curve(learner: Learner, run: RecordedRun, objective: Objective) -> list[float]:
    """Train on any objective; return the loss of each step."""

    def save(folder: Path, *, is_last: bool) -> None:
        learner.trainee.save_weights(folder)

    train(learner, objective, Schedule(peak=RATE, total_steps=objective.total_steps), save)
    steps: list[StepMetrics] = run.steps
    return [metrics.train_loss for metrics in steps]
