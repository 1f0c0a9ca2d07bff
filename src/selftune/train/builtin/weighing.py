"""Decide whether answers are chosen among the trained ones, or written."""

from collections import Counter
from dataclasses import replace

import numpy as np

from selftune.core.records import Hyperparameters
from selftune.models.builtin.encoder import Encoder
from selftune.models.builtin.folder import ModelFiles
from selftune.models.builtin.generate import likeliest
from selftune.models.builtin.model import TunedModel
from selftune.models.builtin.tree import text_probability
from selftune.models.builtin.words import words
from selftune.train.builtin.decoder import DecoderPart
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.labels import LabelTask
from selftune.train.builtin.passages import PassageTask
from selftune.train.builtin.task import (
    FROZEN,
    PASSAGES,
    Choice,
    Task,
    Usual,
    filled,
    train_quietly,
)
from selftune.train.engine import TrainingRun

MOST_UNSEEN = 0.1
"""Share of answers that may be new before a decoder is considered (Good-Turing)."""
LEAST_COPIED = 0.5
"""Share of the words that tell answers apart, below which a decoder has too little to copy."""
MOST_CHOSEN = 3000
"""Different answers up to which choosing among them is considered."""
_STEPS, _BATCH = 400, 16
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 30
LEAST_ROWS = 20
"""Rows of a file from which on a quarter tells anything."""
_MOST_JUDGED, _MOST_ROWS, _HELD_OUT = 64, 1000, 4
_WEIGHTS = np.linspace(0.0, 0.95, 20)


def is_worth_writing(examples: Examples) -> bool:
    """Tell whether a decoder could do better than choosing: answers are new, and copied."""
    return (
        len(examples.texts) >= LEAST_ROWS
        and examples.unseen > MOST_UNSEEN
        and examples.copied >= LEAST_COPIED
    )


def choose_weight(
    examples: Examples,
    encoder: Encoder,
    wanted: Hyperparameters,
    run: TrainingRun,
    seed: int,
) -> Choice:
    """Decide between choosing a trained answer and writing one, on a held-out quarter.

    The better one is the one whose answers share more words with the wanted ones. Likelihood alone
    would always write: an answer that was never seen whole cannot be chosen, however near the
    chosen one is. Where writing is better, likelihood says how much of the mass choosing keeps.
    """
    written = usual_writing(len(examples.texts))
    if examples.groups > MOST_CHOSEN:
        reason = f"{examples.groups} different answers are too many to choose from"
        return replace(filled(wanted, written, reason), answers_weight=0.0)
    sample = np.random.default_rng(seed).permutation(len(examples.texts))[:_MOST_ROWS]
    held = np.zeros(len(examples.texts), bool)
    held[sample[: len(sample) // _HELD_OUT]] = True
    learned = np.zeros(len(examples.texts), bool)
    learned[sample[len(sample) // _HELD_OUT :]] = True
    part, rest = examples.subset(learned), examples.subset(held)
    epochs = int(wanted.n_epochs) if wanted.n_epochs != "auto" else written.epochs // 2
    head = _trained_head(part, examples.kind(), encoder, run, seed)
    decoder = DecoderPart(part, encoder, seed)
    train_quietly(decoder, Usual(epochs, written.batch).plan(len(part.texts), seed), run)
    arrays, longest = decoder.arrays()
    chooser = TunedModel(head.files(), encoder)
    writer = TunedModel(
        ModelFiles(kind="written", reading=examples.reading, decoder=arrays, longest=longest),
        encoder,
    )
    texts, targets = rest.texts[:_MOST_JUDGED], rest.targets[:_MOST_JUDGED]
    scores = {
        name: float(
            np.mean(
                [
                    shared_words(likeliest(found), target)
                    for found, target in zip(model.of_texts(texts), targets, strict=True)
                ]
            )
        )
        for name, model in (("chosen", chooser), ("written", writer))
    }
    weight = 1.0
    if scores["written"] > scores["chosen"]:
        weight = _likeliest_weight(chooser, decoder, rest)
    said = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    run.note(
        "selection",
        f"Words shared with the wanted answer on {len(texts)} held-out rows (F1): {said}; "
        f"share of trained answers: {weight:.2f} (Good-Turing: {1 - examples.unseen:.2f})",
        {"held_out": len(texts), "shared_words": scores, "answers_weight": weight},
    )
    reason = f"held-out F1 of words {max(scores.values()):.3f}"
    if weight < 1:
        choice = filled(wanted, written, f"answers are written, {reason}")
        return replace(choice, answers_weight=weight)
    if examples.kind() == "labels":
        return filled(wanted, FROZEN, f"answers are chosen, {reason}", "frozen")
    return filled(wanted, PASSAGES, f"answers are chosen, {reason}")


def usual_writing(rows: int) -> Usual:
    """Return epochs of about 400 steps: what a few hundred rows need to be copied well."""
    epochs = -(-_STEPS * _BATCH // rows)
    return Usual(max(_LEAST_EPOCHS, min(_MOST_EPOCHS, epochs)), _BATCH)


def _trained_head(part: Examples, kind: str, encoder: Encoder, run: TrainingRun, seed: int) -> Task:
    """Return a head that chooses among the answers of these rows."""
    head: Task
    if kind == "labels":
        head, usual = LabelTask(part, encoder, None, seed), FROZEN
    else:
        head, usual = PassageTask(part, encoder), PASSAGES
    train_quietly(head, usual.plan(len(part.texts), seed), run)
    return head


def _likeliest_weight(chooser: TunedModel, decoder: DecoderPart, rest: Examples) -> float:
    """Return the weight of the chooser under which held-out answers are likeliest."""
    chosen = np.array(
        [
            text_probability(found, target)
            for found, target in zip(chooser.of_texts(rest.texts), rest.targets, strict=True)
        ]
    )
    losses = decoder.losses(rest.texts, rest.targets)
    written = np.array([np.exp(-float(loss.sum())) for loss, _ in losses])
    mixed = _WEIGHTS[:, None] * chosen + (1 - _WEIGHTS[:, None]) * written
    return float(_WEIGHTS[np.log(mixed + 1e-300).sum(1).argmax()])


def shared_words(answer: str, wanted: str) -> float:
    """Return the F1 of two texts' words, counted with repeats (as SQuAD does)."""
    one, other = Counter(words(answer)), Counter(words(wanted))
    if not one or not other:
        return float(answer == wanted)
    same = sum((one & other).values())
    return 2 * same / (sum(one.values()) + sum(other.values()))
