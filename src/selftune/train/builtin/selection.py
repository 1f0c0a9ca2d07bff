"""Decide what the caller left to us, inside the training file, and say why."""

from collections.abc import Callable

from selftune.core.records import Hyperparameters
from selftune.models.builtin.encoder import Encoder
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.labels import LabelTask
from selftune.train.builtin.network import EncoderNetwork
from selftune.train.builtin.task import (
    FROZEN,
    NUMBERS,
    PASSAGES,
    TUNED,
    Choice,
    filled,
    folds,
    train_quietly,
)
from selftune.train.builtin.weighing import choose_weight, is_worth_writing
from selftune.train.engine import TrainingRun

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
    if kind == "numbers":
        return filled(wanted, NUMBERS, "a number: one pass is exact")
    if is_worth_writing(examples):
        return choose_weight(examples, encoder, wanted, run, seed)
    if kind == "passages":
        return filled(wanted, PASSAGES, "free answers: four weights to learn")
    if wanted.n_epochs != "auto":
        return filled(wanted, TUNED, "the encoder is tuned", "tuned")
    pieces = sum(min(len(text) // 4 + 2, examples.reading.pieces) for text in examples.texts)
    if pieces > TUNABLE_PIECES:
        reason = (
            f"about {pieces} word pieces are many: softmax on the frozen encoder; "
            "ask for n_epochs to tune the encoder"
        )
        return filled(wanted, FROZEN, reason, "frozen")
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
    part, rest = examples.subset(~held), examples.subset(held)
    scores = {}
    for variant, usual in (("frozen", FROZEN), ("tuned", TUNED)):
        network = make_network() if variant == "tuned" else None
        task = LabelTask(part, encoder, network, seed)
        train_quietly(task, usual.plan(len(part.texts), seed), run)
        predicted = task.predict(rest.texts).argmax(1).numpy()
        scores[variant] = float((predicted == rest.row_groups).mean())
    variant = max(scores, key=lambda name: (scores[name], name))  # tuned when both are equal
    said = ", ".join(f"{name} encoder {score:.3f}" for name, score in scores.items())
    run.note(
        "selection",
        f"Accuracy on {int(held.sum())} held-out rows of the training file: {said}; "
        f"chosen: {variant}",
        {"held_out": int(held.sum()), "accuracy": scores, "chosen": variant},
    )
    reason = f"held-out accuracy {scores[variant]:.3f} with the {variant} encoder"
    if variant == "tuned":
        return filled(wanted, TUNED, reason, "tuned")
    return filled(wanted, FROZEN, reason, "frozen")
