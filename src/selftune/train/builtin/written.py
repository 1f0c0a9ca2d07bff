"""Train a decoder, alone or beside a head that chooses among trained answers."""

import torch

from selftune.models.builtin.encoder import Encoder
from selftune.models.builtin.folder import ModelFiles
from selftune.models.builtin.weights import Arrays
from selftune.train.builtin.decoder import DecoderPart
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.task import Plan, Scores, Task


class WritingTask:
    """A `Task` for answers that are not all known: `weight` of the mass is the head's."""

    def __init__(
        self, examples: Examples, encoder: Encoder, head: Task | None, weight: float, seed: int
    ) -> None:
        self._head, self._weight, self._reading = head, weight, examples.reading
        self._decoder = DecoderPart(examples, encoder, seed)
        self.lengths = self._decoder.lengths

    def step(self, rows: list[int], index: int, plan: Plan) -> Scores:
        """Learn from one batch; return loss and accuracy of the decoder's tokens before."""
        if self._head is not None:
            self._head.step(rows, index, plan)
        return self._decoder.step(rows, index, plan)

    def evaluate(self, texts: list[str], targets: list[str]) -> Scores:
        """Return loss and accuracy of the decoder's tokens on rows that are not learned from."""
        return self._decoder.evaluate(texts, targets)

    def files(self) -> ModelFiles:
        """Return the model as it stands."""
        arrays, longest = self._decoder.arrays()
        if self._head is None:
            files = ModelFiles(kind="written", reading=self._reading)
        else:
            files = self._head.files()
        return files.model_copy(
            update={"decoder": arrays, "longest": longest, "answers_weight": self._weight}
        )

    def state(self) -> Arrays:
        """Return all that resuming needs."""
        kept = {} if self._head is None else self._head.state()
        return kept | self._decoder.state() | {"random": torch.get_rng_state().numpy().copy()}

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        if self._head is not None:
            self._head.restore(state)
        self._decoder.restore(state)
        torch.set_rng_state(torch.from_numpy(state["random"].copy()))
