"""The optimiser's loop: every method's steps, checkpoints and way back are these.

AdamW on the mean loss of a batch, gradients clipped, a short warm-up and then a straight line to
zero. A run that was stopped goes on from its last checkpoint with the same numbers.
"""

import json
import math
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file

from selftune.core.errors import JobFailed
from selftune.core.records import Record
from selftune.train.builtin.optimizer import optimizer_state, restore_optimizer
from selftune.train.engine import StepMetrics, Trained
from selftune.train.hf.disk import as_os_errors
from selftune.train.hf.learner import Learner, Limit, is_memory
from selftune.train.hf.objective import Objective

GRADIENT_NORM = 1.0
"""The default of transformers' Trainer, and of TRL's."""
BETAS = (0.9, 0.999)
WARMUP = 0.03
"""Share of the steps in which the learning rate rises; Dettmers et al. 2023 (QLoRA), table 9."""
STATE, POSITION = "state.safetensors", "position.json"


class SaveModel(Protocol):
    """Writes the model as it stands into an empty folder."""

    def __call__(self, folder: Path, *, is_last: bool) -> None:
        """Write it; after the last step it is checked too."""
        ...


class Schedule(Record):
    """The learning rate at each step."""

    peak: float
    total_steps: int

    def rate(self, step: int) -> float:
        """Return the learning rate of step `step`, counted from 0."""
        warmup = int(WARMUP * self.total_steps)
        if step < warmup:
            return self.peak * (step + 1) / (warmup + 1)
        return self.peak * (self.total_steps - step) / (self.total_steps - warmup)


class Position(Record):
    """Where a checkpoint was made; how batches are cut is kept, for the same bits after it."""

    step: int
    sequences: int
    tokens: int
    frugal: bool


def train(
    learner: Learner, objective: Objective, schedule: Schedule, save_model: SaveModel
) -> Trained:
    """Take all steps that are left, then return what came out."""
    parameters = [parameter for _, parameter in learner.trainee.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, schedule.peak, betas=BETAS, weight_decay=0.0, foreach=True
    )
    step = _restore(learner, optimizer)
    run = learner.run
    while step < objective.total_steps:
        batch = objective.batch(step)
        totals = learner.learn(objective, batch)
        _check_finite(totals["loss"], step)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        _take_step(optimizer, parameters)
        step += 1
        fields = objective.metrics(step, batch, totals)
        metrics = StepMetrics(step=step, total_steps=objective.total_steps, **fields)
        is_wanted = learner.peers.told(run.step(metrics) if learner.peers.is_first else False)
        if is_wanted or objective.keeps(step) or step == objective.total_steps:
            epoch = objective.epoch(step)
            state = partial(_save_state, learner, optimizer, step)
            if learner.peers.is_first:
                model = partial(save_model, is_last=step == objective.total_steps)
                with as_os_errors():
                    run.checkpoint(metrics, epoch, model, state)
    return Trained(trained_tokens=objective.trained_tokens, steps=objective.total_steps)


def _take_step(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
    """Change the weights by their gradients, which are gone then.

    Raises:
        JobFailed: memory does not suffice for what the optimiser keeps; nothing smaller would help.

    """
    try:
        torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimizer.step()
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        count = sum(parameter.numel() for parameter in parameters)
        raise JobFailed(
            f"There is not enough memory for the optimiser: {count:,} weights learn, and each takes "
            f"16 bytes, {16 * count / 1e9:.2g} GB in all. Train adapters (adapter lora) of a smaller "
            "rank, or train on a machine with more memory.",
            code="out_of_memory",
        ) from error
    optimizer.zero_grad(set_to_none=True)


def _save_state(
    learner: Learner, optimizer: torch.optim.Optimizer, step: int, folder: Path
) -> None:
    kept = {f"weights.{name}": value.detach() for name, value in learner.trainee.parameters()}
    kept |= optimizer_state(optimizer)
    save_file({name: value.cpu().contiguous() for name, value in kept.items()}, folder / STATE)
    limit = learner.limit
    position = Position(
        step=step, sequences=limit.sequences, tokens=limit.tokens, frugal=limit.frugal
    )
    (folder / POSITION).write_text(position.model_dump_json(), encoding="utf-8")


def _restore(learner: Learner, optimizer: torch.optim.Optimizer) -> int:
    """Go back to the last checkpoint; return how many steps were done."""
    folder = learner.run.resume
    if folder is None:
        return 0
    tensors = load_file(folder / STATE)
    with torch.no_grad():
        for name, parameter in learner.trainee.parameters():
            parameter.copy_(tensors[f"weights.{name}"])
    restore_optimizer(optimizer, tensors)
    found = Position.model_validate(json.loads((folder / POSITION).read_text("utf-8")))
    if found.frugal and not learner.limit.frugal:
        learner.trainee.be_frugal()
    learner.limit = Limit(found.sequences, found.tokens, found.frugal)
    return found.step


def _check_finite(loss: float, step: int) -> None:
    """Stop where the numbers ran away: nothing good can follow."""
    if not math.isfinite(loss):
        raise JobFailed(
            f"The loss of step {step + 1} is not a number: training ran away. Choose a smaller "
            "learning_rate_multiplier.",
            code="training_diverged",
            param="hyperparameters.learning_rate_multiplier",
        )
