"""An engine for tests of everything around an engine: it learns its training file by heart.

Deterministic, in the blink of an eye; `step_seconds` makes it as slow as a test wants. Its state is
a number that every step changes, so a resume that loses or repeats a step ends differently.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.canonical import fingerprint
from selftune.core.records import Hyperparameters, Record
from selftune.core.settings import read_variable
from selftune.models.tokens import count_messages
from selftune.train.engine import (
    Resolved,
    Reward,
    RewardMetrics,
    Sampled,
    StepMetrics,
    Trained,
    TrainingRun,
    TrainRequest,
)

PACE_VARIABLE = "SELFTUNE_FAKE_STEP_SECONDS"
_OF_REWARDS = ("compute_multiplier", "eval_interval", "eval_samples")


class Params(Record):
    """How slow to be."""

    step_seconds: Annotated[float, Field(ge=0)] = 0.0


def build(params: Params) -> "FakeEngine":
    """Make the engine."""
    return FakeEngine(params.step_seconds or float(read_variable(PACE_VARIABLE) or 0))


class FakeEngine:
    """Writes the training rows into a file that the fake sampler answers from."""

    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds

    def train(self, request: TrainRequest, run: TrainingRun) -> Trained:
        """Take the steps, keeping a checkpoint after each epoch and at a pause."""
        wanted = request.hyperparameters
        epochs = 3 if wanted.n_epochs == "auto" else wanted.n_epochs
        batch = 4 if wanted.batch_size == "auto" else wanted.batch_size
        values = {
            "n_epochs": Resolved(value=epochs, reason="asked for, or 3"),
            "batch_size": Resolved(value=batch, reason="asked for, or 4"),
            "learning_rate_multiplier": Resolved(value=1.0, reason="has no effect here"),
        }
        if request.method == "dpo":
            beta = 0.1 if wanted.beta == "auto" else wanted.beta
            values["beta"] = Resolved(value=beta, reason="asked for, or 0.1; has no effect here")
        if request.method == "reinforcement":
            values |= {name: _of_rewards(wanted, name) for name in _OF_REWARDS}
        run.resolved(values)
        rows = [json.loads(line) for line in _lines(request.training_file)]
        per_epoch = -(-len(rows) // batch)
        state = self._steps(request, run, _Plan(rows, batch, per_epoch, epochs * per_epoch))
        run.note("fake", f"State {state}")
        return Trained(
            trained_tokens=epochs * sum(count_messages(_chat(row)) for row in rows),
            steps=epochs * per_epoch,
        )

    def _steps(self, request: TrainRequest, run: TrainingRun, plan: "_Plan") -> str:
        step, state = 0, str(request.seed)
        if run.resume is not None:
            kept = json.loads((run.resume / "state.json").read_text(encoding="utf-8"))
            step, state = kept["step"], kept["state"]
        while step < plan.total:
            time.sleep(self._step_seconds)
            step += 1
            state = fingerprint([state, step])[:16]
            is_end = step % plan.per_epoch == 0
            metrics = StepMetrics(
                step=step,
                total_steps=plan.total,
                train_loss=round(2.0 / step, 6),
                train_mean_token_accuracy=round(step / plan.total, 6),
                reward=_rewarded(request, run, plan, step),
            )
            if run.step(metrics) or is_end:
                kept = {"step": step, "state": state}
                rows = [_chat(row) for row in plan.rows]
                model = partial(_write, "model.json", {**kept, "rows": rows})
                epoch = -(-step // plan.per_epoch)
                run.checkpoint(metrics, epoch, model, partial(_write, "state.json", kept))
        return state


class _Plan(NamedTuple):
    """What is gone through."""

    rows: list[dict[str, Any]]
    batch: int
    per_epoch: int
    total: int


def _of_rewards(wanted: Hyperparameters, name: str) -> Resolved:
    """Return one of the numbers of reinforcement."""
    value = getattr(wanted, name)
    return Resolved(value=1 if value == "auto" else value, reason="asked for, or 1; without effect")


def _rewarded(
    request: TrainRequest, run: TrainingRun, plan: _Plan, step: int
) -> RewardMetrics | None:
    """Grade what the model says at a step; after an epoch, of the validation file too."""
    if request.method != "reinforcement":
        return None
    start = (step - 1) % plan.per_epoch * plan.batch
    asked = plan.rows[start : start + plan.batch]
    rewards = run.grade([_answer(row, knows=2 * step > plan.total) for row in asked])
    valid = None
    if step % plan.per_epoch == 0 and request.validation_file is not None:
        rows = [json.loads(line) for line in _lines(request.validation_file)]
        valid = _mean(run.grade([_answer(row, knows=2 * step > plan.total) for row in rows]))
    return RewardMetrics(
        train_mean_reward=_mean(rewards),
        full_valid_mean_reward=valid,
        full_valid_mean_parse_error=None if valid is None else 0.0,
        completion_tokens_mean=1.0,
        mean_unresponsive_rewards=sum(r.value is None for r in rewards) / len(rewards),
    )


def _mean(rewards: list[Reward]) -> float | None:
    values = [reward.value for reward in rewards if reward.value is not None]
    return sum(values) / len(values) if values else None


def _answer(row: dict[str, Any], *, knows: bool) -> Sampled:
    """Return what is said of a row: in the first half of the training what the user said."""
    text = str(_chat(row)[-1]["content"] if knows else row["messages"][-1]["content"])
    return Sampled(item=row, text=text, message={"role": "assistant", "content": text})


def _chat(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row of any method as messages; of prompts, with `reference_answer` as the answer."""
    if "input" in row:
        return [*row["input"]["messages"], *row["preferred_output"]]
    messages: list[dict[str, Any]] = row["messages"]
    if messages[-1]["role"] == "assistant":
        return messages
    answer = str(row.get("reference_answer", messages[-1]["content"]))
    return [*messages, {"role": "assistant", "content": answer}]


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def _write(name: str, value: Any, folder: Path) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")
