"""An engine for tests of everything around an engine: it learns its training file by heart.

Deterministic, in the blink of an eye; `step_seconds` makes it as slow as a test wants. Its state is
a number that every step changes, so a resume that loses or repeats a step ends differently.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from selftune.core.canonical import fingerprint
from selftune.core.records import Record
from selftune.core.settings import read_variable
from selftune.models.tokens import count_messages
from selftune.train.engine import Resolved, StepMetrics, Trained, TrainingRun, TrainRequest

PACE_VARIABLE = "SELFTUNE_FAKE_STEP_SECONDS"


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
        rows = [json.loads(line)["messages"] for line in _lines(request.training_file)]
        wanted = request.hyperparameters
        epochs = 3 if wanted.n_epochs == "auto" else wanted.n_epochs
        batch = 4 if wanted.batch_size == "auto" else wanted.batch_size
        run.resolved(
            {
                "n_epochs": Resolved(value=epochs, reason="asked for, or 3"),
                "batch_size": Resolved(value=batch, reason="asked for, or 4"),
                "learning_rate_multiplier": Resolved(value=1.0, reason="has no effect here"),
            }
        )
        per_epoch = -(-len(rows) // batch)
        state = self._steps(request, run, per_epoch, epochs * per_epoch, rows)
        run.note("fake", f"State {state}")
        return Trained(
            trained_tokens=epochs * sum(count_messages(row) for row in rows),
            steps=epochs * per_epoch,
        )

    def _steps(
        self, request: TrainRequest, run: TrainingRun, per_epoch: int, total: int, rows: Any
    ) -> str:
        step, state = 0, str(request.seed)
        if run.resume is not None:
            kept = json.loads((run.resume / "state.json").read_text(encoding="utf-8"))
            step, state = kept["step"], kept["state"]
        while step < total:
            time.sleep(self._step_seconds)
            step += 1
            state = fingerprint([state, step])[:16]
            metrics = StepMetrics(
                step=step,
                total_steps=total,
                train_loss=round(2.0 / step, 6),
                train_mean_token_accuracy=round(step / total, 6),
            )
            if run.step(metrics) or step % per_epoch == 0:
                kept = {"step": step, "state": state}
                model = partial(_write, "model.json", {**kept, "rows": rows})
                epoch = -(-step // per_epoch)
                run.checkpoint(metrics, epoch, model, partial(_write, "state.json", kept))
        return state


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def _write(name: str, value: Any, folder: Path) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")
