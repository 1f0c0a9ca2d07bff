"""The embedded engine: `selftune/minilm` learns labels, free answers or numbers on a processor.

One optimiser loop for all of them. Deterministic by seed on one machine; a run that was stopped ends
with the same bytes as one that was not.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from selftune.core.records import Record
from selftune.models.builtin.encoder import Encoder
from selftune.models.builtin.folder import ModelFiles, load_model, save_model
from selftune.models.builtin.generate import likeliest
from selftune.models.builtin.graphs import base_encoder, tuned_encoder
from selftune.models.builtin.model import TunedModel
from selftune.models.builtin.weights import Arrays, pretrained
from selftune.train.builtin.examples import Examples, load_examples
from selftune.train.builtin.labels import LabelTask
from selftune.train.builtin.network import EncoderNetwork
from selftune.train.builtin.numbers import NumberTask
from selftune.train.builtin.passages import PassageTask
from selftune.train.builtin.selection import choose
from selftune.train.builtin.task import Choice, Plan, Scores, Task, epoch_batches
from selftune.train.builtin.written import WritingTask
from selftune.train.engine import (
    Resolved,
    StepMetrics,
    Trained,
    TrainingRun,
    TrainRequest,
)

CHECKED_PIECES = 8_000
"""Word pieces of the training file on which the 8-bit encoder must give the same answers."""
_VALIDATED_ROWS = 1000


class Params(Record):
    """Nothing to set: hyperparameters come with the request."""


def build(params: Params) -> "BuiltinEngine":
    """Make the engine."""
    del params
    return BuiltinEngine()


class BuiltinEngine:
    """Trains the embedded model."""

    def train(self, request: TrainRequest, run: TrainingRun) -> Trained:
        """Train to the end, continuing from the last checkpoint when there is one."""
        threads = request.threads or len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        # `use_deterministic_algorithms`, which does the same, loads a compiler.
        torch.set_deterministic_debug_mode("error")
        training = _Training(request, run, threads)
        return training.run_to_end()


class _Training:
    """One request on its way."""

    def __init__(self, request: TrainRequest, run: TrainingRun, threads: int) -> None:
        self._request, self._run, self._threads = request, run, threads
        self._cache = run.cache
        self._continued: Arrays | None = None
        reading = None
        if request.base_folder is not None:
            base = load_model(request.base_folder)
            self._continued, reading = base.encoder, base.reading
        self._examples = load_examples(request.training_file, reading)
        self._encoder = self._base_encoder("float32")

    def run_to_end(self) -> Trained:
        """Choose, then train."""
        choice = self._choose()
        self._run.resolved(choice.values)
        plan = Plan(
            n_epochs=int(choice.number("n_epochs")),
            batch_size=int(choice.number("batch_size")),
            learning_rate_multiplier=choice.number("learning_rate_multiplier"),
            seed=self._request.seed,
            rows=len(self._examples.texts),
        )
        task = self._task(choice)
        self._loop(task, plan)
        return Trained(trained_tokens=self._examples.tokens * plan.n_epochs, steps=plan.total_steps)

    def _loop(self, task: Task, plan: Plan) -> None:
        step = 0
        if self._run.resume is not None:
            task.restore(load_file(self._run.resume / "state.safetensors"))
            position = json.loads((self._run.resume / "position.json").read_text("utf-8"))
            step = position["step"]
        for epoch in range(step // plan.steps_per_epoch, plan.n_epochs):
            random = np.random.default_rng([plan.seed, epoch])
            batches = epoch_batches(task.lengths, plan.batch_size, random)
            for rows in batches[step % plan.steps_per_epoch :]:
                scores = task.step(rows, step, plan)
                step += 1
                is_last = step % plan.steps_per_epoch == 0
                metrics = self._metrics(task, plan, step, scores, with_validation=is_last)
                if self._run.step(metrics) or is_last:
                    self._checkpoint(task, metrics, epoch + 1, step)

    def _metrics(
        self, task: Task, plan: Plan, step: int, scores: Scores, *, with_validation: bool
    ) -> StepMetrics:
        validation: dict[str, float] = {}
        if with_validation and self._request.validation_file is not None:
            rows = load_examples(self._request.validation_file, self._examples.reading)
            found = task.evaluate(rows.texts[:_VALIDATED_ROWS], rows.targets[:_VALIDATED_ROWS])
            validation = {
                "valid_loss": found.loss,
                "valid_mean_token_accuracy": found.accuracy,
                "full_valid_loss": found.loss,
                "full_valid_mean_token_accuracy": found.accuracy,
            }
        return StepMetrics(
            step=step,
            total_steps=plan.total_steps,
            train_loss=scores.loss,
            train_mean_token_accuracy=scores.accuracy,
            **validation,
        )

    def _checkpoint(self, task: Task, metrics: StepMetrics, epoch: int, step: int) -> None:
        def write_model(folder: Path) -> None:
            files = task.files()
            precision = "float32"
            if step == metrics.total_steps and files.decoder is None:
                precision = self._precision(files, task.lengths)
            save_model(folder, files.model_copy(update={"precision": precision}))

        def write_state(folder: Path) -> None:
            save_file(task.state(), folder / "state.safetensors")
            (folder / "position.json").write_text(json.dumps({"step": step}), "utf-8")

        self._run.checkpoint(metrics, epoch, write_model, write_state)

    def _precision(self, files: ModelFiles, lengths: list[int]) -> str:
        """Return int8 if the 8-bit encoder gives every checked row the same answer.

        A decoder writes from the encoder's states, not from an answer that is far from the next
        best, so its encoder stays exact.
        """
        rows = int((np.cumsum(lengths) <= CHECKED_PIECES).sum())
        texts = self._examples.texts[: max(1, rows)]
        answers = []
        for precision in ("float32", "int8"):
            model = TunedModel(files, self._encoder_of(files, precision))
            answers.append([likeliest(found) for found in model.of_texts(texts)])
        return "int8" if answers[0] == answers[1] else "float32"

    def _encoder_of(self, files: ModelFiles, precision: str) -> Encoder:
        if files.encoder is None:
            return self._base_encoder(precision)
        folder = self._run.folder / "graphs"
        for old in folder.glob(f"*-{precision}.onnx"):
            old.unlink()
        return tuned_encoder(
            folder, "tuned", files.encoder, precision=precision, threads=self._threads
        )

    def _base_encoder(self, precision: str) -> Encoder:
        return base_encoder(self._cache, precision=precision, threads=self._threads)

    def _choose(self) -> Choice:
        """Return the choice; one that an earlier attempt of this job made stands."""
        kept = self._run.folder / "choice.json"
        if kept.exists():
            found = json.loads(kept.read_text("utf-8"))
            values = {name: Resolved(**value) for name, value in found["values"].items()}
            return Choice(values, found["variant"], found["answers_weight"])
        wanted, seed = self._request.hyperparameters, self._request.seed
        choice = choose(self._examples, self._encoder, self._network, wanted, self._run, seed)
        plain = {name: value.model_dump() for name, value in choice.values.items()}
        kept_choice = {"variant": choice.variant, "answers_weight": choice.answers_weight}
        text = json.dumps({"values": plain} | kept_choice)
        partial = kept.with_suffix(".partial")
        partial.write_text(text, "utf-8")
        partial.replace(kept)
        return choice

    def _task(self, choice: Choice) -> Task:
        examples: Examples = self._examples
        kind = examples.kind()
        if kind == "numbers":
            return self._number_task()
        seed = self._request.seed
        head: Task | None = None
        if choice.answers_weight > 0:
            network = self._network() if choice.variant == "tuned" else None
            if kind == "passages":
                head = PassageTask(examples, self._encoder)
            else:
                head = LabelTask(examples, self._encoder, network, seed)
            if choice.answers_weight == 1:
                return head
        return WritingTask(examples, self._encoder, head, choice.answers_weight, seed)

    def _number_task(self) -> NumberTask:
        task = NumberTask(self._examples, self._encoder)
        errors = task.choose_ridge(self._request.seed)
        said = ", ".join(f"{value:g}: {error:.4g}" for value, error in errors.items())
        message = "Cross-validation in the training file, mean absolute error by ridge: "
        self._run.note("selection", message + said, {str(k): v for k, v in errors.items()})
        return task

    def _network(self) -> EncoderNetwork:
        return EncoderNetwork(pretrained() | (self._continued or {}))
