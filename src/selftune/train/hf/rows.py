"""A file's rows as examples, and the order in which epochs show them."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from selftune.core.errors import InvalidInput, JobFailed
from selftune.train.engine import TrainingRun
from selftune.train.hf.objective import Example, Tokens

Row = dict[str, Any]
Measure = Callable[[Sequence[Example]], tuple[float, float]]
"""Loss and accuracy of some examples."""
VALIDATIONS = 10
"""Validations on a part of the file in an epoch, at most."""


class Rendered(Protocol):
    """A sequence as the renderer gives it."""

    @property
    def ids(self) -> list[int]:
        """Its tokens."""
        ...

    @property
    def weights(self) -> list[float]:
        """Of predicting each of them."""
        ...


Render = Callable[[Row], tuple[Rendered, ...]]
"""From a row to the sequences that it teaches."""
Which = Literal["training", "validation"]


@dataclass(frozen=True)
class Order:
    """Which rows each step has: a new order in every epoch, from the seed alone."""

    rows: int
    batch_size: int
    n_epochs: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-self.rows // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        return self.per_epoch * self.n_epochs

    def batch(self, step: int) -> list[int]:
        """Return the rows of step `step`, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        order = _shuffled(self.rows, self.seed, epoch)[place * self.batch_size :]
        return [int(row) for row in order[: self.batch_size]]

    def epoch(self, step: int) -> int:
        """Return the epoch, counted from 1, that the last of `step` steps belongs to."""
        return -(-step // self.per_epoch)

    def is_epoch_end(self, step: int) -> bool:
        """Return whether an epoch ends with the last of `step` steps."""
        return step % self.per_epoch == 0


@lru_cache(2)  # drawn once for an epoch, not at every step
def _shuffled(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield each row of a JSON lines file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


@dataclass(frozen=True)
class Shown:
    """How rows become sequences."""

    render: Render
    """Its sequences may have one token more than are kept."""
    length: int
    """Tokens of a sequence that are kept."""
    fewest: int = 1
    """Sequences with something to learn that a row must have."""

    def example(self, row: Row) -> tuple[Example | None, bool]:
        """Return what is left of a row, and whether it was cut."""
        whole = [as_tokens(one) for one in self.render(row)]
        is_cut = any(len(one.ids) > self.length for one in whole)
        kept = [Tokens(one.ids[: self.length], one.weights[: self.length]) for one in whole]
        learned = tuple(one for one in kept if one.weights.any())
        return (Example(learned) if len(learned) >= self.fewest else None), is_cut


def load_examples(
    path: Path, shown: Shown, run: TrainingRun, which: Which = "training"
) -> list[Example]:
    """Return an example for each row that has something to learn, and tell how many are cut.

    Raises:
        JobFailed: no row has, or one cannot be shown to this model.
        Interrupted: passed through from the run.

    """
    found, left_out, cut = list[Example](), 0, 0
    for number, row in enumerate(read_rows(path), start=1):
        run.check()
        try:
            example, is_cut = shown.example(row)
        except InvalidInput as error:
            raise JobFailed(
                f"The job failed due to an invalid {which} file. Example {number}: {error.message}",
                code=f"invalid_{which}_file",
                param=f"{which}_file",
            ) from error
        if example is None:
            left_out += 1
        else:
            found.append(example)
            cut += is_cut
    if left_out and found:
        said = f"{left_out} rows of the {which} file have nothing to learn, and are left out"
        run.note(f"left-out-{which}", said, {"rows": left_out})
    if cut:
        said = f"{cut} rows of the {which} file are longer than {shown.length} tokens, and are cut there"
        run.note(f"cut-{which}", said, {"rows": cut, "max_length": shown.length})
    if not found:
        raise JobFailed(
            f"No row of the {which} file has anything to learn: every answer has the weight 0, or is cut "
            "off because what stands before it is longer than max_length.",
            code=f"invalid_{which}_file",
            param=f"{which}_file",
        )
    return found


def as_tokens(rendered: Rendered) -> Tokens:
    """Return a rendered sequence in little memory."""
    weights = np.array(rendered.weights, np.float32)
    weights[:1] = 0  # nothing stands before the first token that could predict it
    return Tokens(np.array(rendered.ids, np.int32), weights)


@dataclass(frozen=True)
class Data:
    """The examples of both files, and when which of them are looked at."""

    training: Sequence[Example]
    validation: Sequence[Example]
    order: Order

    @property
    def trained_tokens(self) -> int:
        """Tokens of all epochs."""
        return self.order.n_epochs * sum(example.tokens for example in self.training)

    def batch(self, step: int) -> list[Example]:
        """Return what step `step`, counted from 0, learns from."""
        return [self.training[row] for row in self.order.batch(step)]

    def is_validated(self, step: int) -> bool:
        """Return whether it is time to validate after so many steps."""
        often = max(1, self.order.per_epoch // VALIDATIONS)
        return step % often == 0 or self.order.is_epoch_end(step)

    def validated(self, step: int, measure: Measure) -> dict[str, float]:
        """Return the metrics of validation: of a batch, and of all at the end of an epoch."""
        if not self.validation or not self.is_validated(step):
            return {}
        random = np.random.default_rng([self.order.seed, step, 1])
        drawn = random.permutation(len(self.validation))[: self.order.batch_size]
        loss, accuracy = measure([self.validation[row] for row in drawn])
        found = {"valid_loss": loss, "valid_mean_token_accuracy": accuracy}
        if self.order.is_epoch_end(step):
            loss, accuracy = measure(self.validation)
            found |= {"full_valid_loss": loss, "full_valid_mean_token_accuracy": accuracy}
        return found
