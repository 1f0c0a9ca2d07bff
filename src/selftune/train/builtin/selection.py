"""Decide what the caller left to us, inside the training file, and say why."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from selftune.core.records import Hyperparameters
from selftune.models.builtin.encoder import Encoder
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.labels import LabelTask
from selftune.train.builtin.network import EncoderNetwork, epoch_batches
from selftune.train.builtin.task import Choice, Plan, Task, folds
from selftune.train.engine import Resolved, TrainingRun

TUNED_EPOCHS, FROZEN_EPOCHS, PASSAGE_EPOCHS = 5, 10, 3
TUNED_BATCH, FROZEN_BATCH, PASSAGE_BATCH, NUMBER_BATCH = 16, 64, 16, 64
TUNABLE_PIECES = 40_000
"""Word pieces of a file up to which `auto` tries to tune the encoder: about half a minute on two
cores. A larger one is served well by the frozen encoder; ask for `n_epochs` to have it tuned."""
_HELD_OUT = 4
"""One row in so many is held out to compare."""


def choose(
    examples: Examples,
    encoder: Encoder,
    make_network: Callable[[], EncoderNetwork],
    wanted: Hyperparameters,
    run: TrainingRun,
    seed: int,
) -> Choice:
    """Return numbers for the hyperparameters, with reasons, and the variant to train."""
    kind = examples.kind()
    if kind == "passages":
        return _filled(wanted, PASSAGE_EPOCHS, PASSAGE_BATCH, "free answers: four weights to learn")
    if kind == "numbers":
        return _filled(wanted, 1, NUMBER_BATCH, "a number: one pass is exact")
    if wanted.n_epochs != "auto":
        return _filled(wanted, TUNED_EPOCHS, TUNED_BATCH, "the encoder is tuned", "tuned")
    pieces = sum(min(len(text) // 4 + 2, examples.reading.pieces) for text in examples.texts)
    if pieces * TUNED_EPOCHS > TUNABLE_PIECES * TUNED_EPOCHS:
        reason = (
            f"about {pieces} word pieces are many: softmax on the frozen encoder; "
            "ask for n_epochs to tune the encoder"
        )
        return _filled(wanted, FROZEN_EPOCHS, FROZEN_BATCH, reason, "frozen")
    return _compare(examples, encoder, make_network, wanted, run, seed)


def _compare(
    examples: Examples,
    encoder: Encoder,
    make_network: Callable[[], EncoderNetwork],
    wanted: Hyperparameters,
    run: TrainingRun,
    seed: int,
) -> Choice:
    """Train both variants on three quarters of the rows, and compare them on the rest."""
    held = folds(len(examples.texts), _HELD_OUT, seed) == 0
    part, rest = _subset(examples, ~held), _subset(examples, held)
    scores = {}
    for variant, epochs, batch in (
        ("frozen", FROZEN_EPOCHS, FROZEN_BATCH),
        ("tuned", TUNED_EPOCHS, TUNED_BATCH),
    ):
        network = make_network() if variant == "tuned" else None
        task = LabelTask(part, encoder, network, seed)
        plan = Plan(epochs, batch, 1.0, seed, len(part.texts))
        train_quietly(task, plan, run)
        predicted = task.predict(rest.texts).argmax(1).numpy()
        scores[variant] = float((predicted == rest.row_groups).mean())
    variant = max(scores, key=lambda name: (scores[name], name))
    said = ", ".join(f"{name} encoder {score:.3f}" for name, score in scores.items())
    run.note(
        "selection",
        f"Accuracy on {int(held.sum())} held-out rows of the training file: {said}; "
        f"chosen: {variant}",
        {"held_out": int(held.sum()), "accuracy": scores, "chosen": variant},
    )
    reason = f"held-out accuracy {scores[variant]:.3f} with the {variant} encoder"
    if variant == "tuned":
        return _filled(wanted, TUNED_EPOCHS, TUNED_BATCH, reason, "tuned")
    return _filled(wanted, FROZEN_EPOCHS, FROZEN_BATCH, reason, "frozen")


def train_quietly(task: Task, plan: Plan, run: TrainingRun) -> None:
    """Train without a story; stops when the job must stop."""
    index = 0
    for epoch in range(plan.n_epochs):
        random = np.random.default_rng([plan.seed, epoch])
        for rows in epoch_batches(task.lengths, plan.batch_size, random):
            run.check()
            task.step(rows, index, plan)
            index += 1


def _subset(examples: Examples, kept: np.ndarray) -> Examples:
    """Return some of the rows; answers and groups keep their numbers."""
    rows = np.flatnonzero(kept)
    return replace(
        examples,
        texts=[examples.texts[row] for row in rows],
        targets=[examples.targets[row] for row in rows],
        answer_of=examples.answer_of[rows],
    )


def _filled(
    wanted: Hyperparameters, epochs: int, batch: int, reason: str, variant: str = ""
) -> Choice:
    defaults: dict[str, int | float] = {
        "n_epochs": epochs,
        "batch_size": batch,
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
