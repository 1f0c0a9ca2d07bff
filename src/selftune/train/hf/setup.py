"""What every method does before its first step: read rows, decide, load the model, say so."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig

from selftune.core.errors import JobFailed
from selftune.models.hf.loading import choose_device
from selftune.models.hf.renderer import Example as Rendered
from selftune.models.hf.renderer import Renderer
from selftune.models.memory import TOKENS_AT_ONCE
from selftune.train.engine import TrainingRun, TrainRequest
from selftune.train.hf.adapters import Start, load_trainee
from selftune.train.hf.choices import (
    Choice,
    Model,
    choose,
    choose_adapter,
    choose_length,
    kind_of,
)
from selftune.train.hf.learner import Learner, Limit
from selftune.train.hf.objective import Example, Objective, Tokens
from selftune.train.hf.peers import Peers
from selftune.train.hf.rows import Order, Render, Shown, load_examples


class Prepared(NamedTuple):
    """All that the loop needs."""

    objective: Objective
    learner: Learner
    rate: float
    """The highest learning rate."""


@dataclass
class Setup:
    """One request on its way to the first step."""

    request: TrainRequest
    run: TrainingRun
    start: Start
    renderer: Renderer
    peers: Peers
    shown: list[list[int]] = field(default_factory=list)
    """Sequences of the job's own on which the product is compared with the trained model."""

    @cached_property
    def model(self) -> Model:
        """What is known of the base without its weights."""
        folder = Path(self.start.origin.folder)
        config = AutoConfig.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True
        )
        inner = config.get_text_config(decoder=True)
        return Model(
            hidden=int(inner.hidden_size),
            family=str(config.model_type),
            context=self.renderer.context,
            device="cuda" if choose_device().type == "cuda" else "cpu",
        )

    @property
    def max_length(self) -> int:
        """Tokens of a sequence that are kept."""
        return int(choose_length(self.request, self.renderer.context).value)

    def examples(self, render: Render, fewest: int = 1) -> tuple[list[Example], list[Example]]:
        """Return an example for each row of the training file, and of the validation file."""
        shown = Shown(render, self.max_length, fewest)
        training = load_examples(self.request.training_file, shown, self.run)
        path = self.request.validation_file
        return training, [] if path is None else load_examples(path, shown, self.run, "validation")

    def choose(self, training: Sequence[Example]) -> Choice:
        """Decide every setting, and say which and why."""
        return self.decide(choose(self.request, self.model, [one.longest for one in training]))

    def decide(self, choice: Choice) -> Choice:
        """Take a choice for this request's, and say so."""
        choice.settings["max_length"] = choose_length(self.request, self.renderer.context)
        if kind_of(self.request) != "full":
            choice.settings.update(choose_adapter(self.request, self.start))
        self.run.resolved(choice.hyperparameters)
        plain = {name: one.model_dump() for name, one in sorted(choice.settings.items())}
        data: dict[str, Any] = {"adapter": kind_of(self.request), **plain}
        self.run.note("settings", f"Settings: {kind_of(self.request)}; {choice.said()}", data)
        return choice

    def show(self, example: Example) -> None:
        """Show the first example as the model sees it, with what is learned marked."""
        self.shown.extend(one.ids.tolist() for one in example.sequences)
        shown = [self.renderer.shown(_rendered(one)) for one in example.sequences]
        text = "\n\n".join(shown)
        trims = "; spaces around answers are stripped by the chat template"
        said = f"The first example; what is learned is marked{trims * self.renderer.proven.trims}"
        self.run.note("rendered", f"{said}:\n{text}")

    def order(self, rows: int, choice: Choice) -> Order:
        """Return the order of the rows."""
        return Order(
            rows=rows,
            batch_size=int(choice.number("batch_size")),
            n_epochs=int(choice.number("n_epochs")),
            seed=self.request.seed,
        )

    def learner(self, choice: Choice, examples: Sequence[Example]) -> Learner:
        """Load the model and put on it what is to be trained."""
        kind = kind_of(self.request)
        rank, alpha = (0, 0.0) if kind == "full" else _adapter(choice)
        trainee = load_trainee(self.request, self.start, kind, rank, alpha)
        learner = Learner(trainee, self.run, self._limit(choice, examples), self.peers)
        learner.forward.packing = self._packs(learner)
        return learner

    def _limit(self, choice: Choice, examples: Sequence[Example]) -> Limit:
        """Return the largest micro-batch: of so many sequences if asked for, else of tokens."""
        wanted = self.request.options.micro_batch
        if wanted != "auto":
            return Limit(sequences=wanted, tokens=wanted * self.max_length)
        together = max(len(example.sequences) for example in examples)
        most = int(choice.number("batch_size")) * together
        return Limit(sequences=most, tokens=TOKENS_AT_ONCE[self.model.device])

    def _packs(self, learner: Learner) -> bool:
        """Return whether sequences are packed.

        Raises:
            JobFailed: it was asked for, and this model would mix the sequences.

        """
        wanted = self.request.options.packing
        if wanted is False or (wanted == "auto" and learner.trainee.device.type != "cuda"):
            return False  # without a GPU's kernels, attention over a pack costs more than padding
        can = learner.forward.can_pack()
        if can:
            self.run.note("packing", "Sequences are packed: checked to equal single ones")
        elif wanted is True:
            raise JobFailed(
                "This model reads packed sequences as one: their log-probabilities differ from "
                "those of single ones. Leave packing out.",
                code="packing_not_available",
                param="packing",
            )
        else:
            self.run.note(
                "packing", "Sequences are padded: this model cannot keep packed ones apart"
            )
        return can


def _adapter(choice: Choice) -> tuple[int, float]:
    return int(choice.number("rank")), choice.number("alpha")


def _rendered(tokens: Tokens) -> Rendered:
    return Rendered(tokens.ids.tolist(), tokens.weights.tolist())
