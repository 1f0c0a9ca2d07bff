"""What an engine reports to, when the run is a job: events, checkpoints and requests to stop.

Everything is written under the job's lease, so a child that lost it can write nothing more.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import JobFailed, Paused
from selftune.core.ids import IdSource
from selftune.core.records import Checkpoint, Job, Model, TrainSpec
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.queue import Lease, fenced, is_pause_requested, reset_attempts, update_state
from selftune.store.blobs import place_folder
from selftune.store.checkpoints import (
    insert_checkpoint,
    last_state,
    retire_checkpoints,
    retire_worse_checkpoints,
)
from selftune.store.models import insert_model
from selftune.store.store import Store
from selftune.train.engine import Resolved, Reward, Sampled, StepMetrics
from selftune.train.leftovers import STEP_MARK, remove_folders, scratch_folder
from selftune.train.metrics import checkpoint_metrics, step_data, step_message

KEPT = 3
"""OpenAI keeps the checkpoints of the last three epochs; of a reinforcement the best three."""
BEST_BY = "full_valid_mean_reward"
Grade = Callable[[Sequence[Sampled]], list[Reward]]
"""Judges answers; it may raise what ends the job."""
MODEL_FILE = "selftune.json"
"""In each model's folder: its name and the engine that made it, for use without the database."""
_FLUSH_SECONDS = 0.2
_CHECK_SECONDS = 0.2


class JobRun:
    """A `TrainingRun` whose story is a job's."""

    def __init__(self, store: Store, job: Job, lease: Lease, grade: Grade | None = None) -> None:
        self._store, self._job, self._lease, self._grade = store, job, lease, grade
        self._spec = TrainSpec.model_validate(job.spec)
        self._waiting: list[NewEvent] = []
        self._flushed = self._checked = float("-inf")
        self._first: tuple[float, int] | None = None
        self._finish: int | None = None
        self._is_pausing = False
        self._told_errors: set[str] = set()
        self.folder = scratch_folder(store, job.id)
        self._base = self.folder.parent
        self.cache = store.folder("cache")
        last = last_state(store, job.id)
        self.resume: Path | None = None if last is None else store.root / last

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Log one line of the job's story."""
        self._waiting.append(NewEvent(key=key, message=message, data=data))
        self.flush()

    def resolved(self, values: dict[str, Resolved]) -> None:
        """Keep the numbers that stand for each hyperparameter, and say why."""
        state = {
            "hyperparameters": {name: value.value for name, value in values.items()},
            "reasons": {name: value.reason for name, value in values.items()},
        }
        with fenced(self._store, self._lease) as (connection, job):
            update_state(connection, job, state)
        said = "; ".join(f"{name}={v.value} ({v.reason})" for name, v in values.items())
        self.note("hyperparameters", f"Hyperparameters: {said}")

    def step(self, metrics: StepMetrics) -> bool:
        """Report one optimiser step; return whether to keep a checkpoint now, for a pause."""
        self._waiting.append(
            NewEvent(
                key=f"step-{metrics.step}",
                message=step_message(metrics),
                type="metrics",
                data=step_data(metrics),
            )
        )
        self._estimate(metrics)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()
        return self._must_pause()

    def checkpoint(
        self,
        metrics: StepMetrics,
        epoch: int,
        save_model: Callable[[Path], None] | None,
        save_state: Callable[[Path], None],
    ) -> None:
        """Keep a complete state on disk, then record it; a pause begins here.

        After the last step there is nothing to pause: the job succeeds.
        """
        self.flush()
        state = self._place("state", metrics.step, save_state)
        is_last = metrics.step == metrics.total_steps
        name = (
            self._job.state["fine_tuned_model"] if is_last else self._checkpoint_name(metrics.step)
        )
        folder = self._place_model(name, metrics.step, save_model) if save_model else None
        record = Checkpoint(
            id=self._store.ids.new("ftckpt_"),
            job_id=self._job.id,
            step=metrics.step,
            epoch=epoch,
            created_at=self._store.now(),
            model=name,
            folder=folder or "",
            metrics=checkpoint_metrics(metrics),
        )
        remove_folders(self._store, self._record(record, state, is_last=is_last))
        self._remove_old_states(keep=state)
        if not is_last:
            self.check()

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        """Return what each answer is worth by the job's grader; the first failure of a kind is told.

        Raises:
            JobFailed: the job has no grader.

        """
        if self._grade is None:
            raise JobFailed("The job has no grader.", code="invalid_grader", param="method")
        rewards = self._grade(answers)
        for reward in rewards:
            if reward.error is not None and reward.error not in self._told_errors:
                self._told_errors.add(reward.error)
                self._waiting.append(_grader_failed(reward))
        return rewards

    def check(self) -> None:
        """Raise if the job must stop now."""
        if self._must_pause():
            self.flush()
            raise Paused("The job was paused.", code="paused")

    def flush(self) -> None:
        """Write the events that wait."""
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        with fenced(self._store, self._lease) as (connection, job):
            if append_events(self._store, connection, job.id, tuple(self._waiting)):
                reset_attempts(connection, job.id)
            if self._finish is not None:
                update_state(connection, job, {"estimated_finish": self._finish})
        self._waiting.clear()

    def model(self, name: str, folder: str) -> Model:
        """Return the record of a model that this job made."""
        return Model(
            id=name,
            project_id=self._job.project_id,
            base=self._spec.base,
            engine=self._spec.engine,
            folder=folder,
            job_id=self._job.id,
            created_at=self._store.now(),
        )

    def _must_pause(self) -> bool:
        """Ask the database, at most five times a second, until the answer is yes."""
        if not self._is_pausing and time.monotonic() - self._checked >= _CHECK_SECONDS:
            self._checked = time.monotonic()
            self._is_pausing = is_pause_requested(self._store, self._lease)
        return self._is_pausing

    def _record(self, record: Checkpoint, state: str, *, is_last: bool) -> tuple[str, ...]:
        """Store a checkpoint with its event; return the folders that are needed no more."""
        servable = bool(record.folder)
        with fenced(self._store, self._lease) as (connection, job):
            new = insert_checkpoint(connection, record, state_folder=state, servable=servable)
            reset_attempts(connection, job.id)
            if not new or not servable:
                return ()
            if not is_last:
                insert_model(
                    connection, self.model(record.model, record.folder), is_checkpoint=True
                )
                message = (
                    f"Checkpoint created at step {record.step} with Snapshot ID: {record.model}"
                )
                event = NewEvent(key=f"checkpoint-{record.step}", message=message)
                append_events(self._store, connection, job.id, (event,))
            if self._spec.method == "reinforcement":
                return retire_worse_checkpoints(connection, job.id, keep=KEPT, by=BEST_BY)
            return retire_checkpoints(connection, job.id, keep=KEPT)

    def _place_model(self, name: str, step: int, save: Callable[[Path], None]) -> str:
        def save_with_name(folder: Path) -> None:
            save(folder)
            about = self.model(name, "").model_dump(include={"id", "base", "engine", "job_id"})
            (folder / MODEL_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")

        return self._place("model", step, save_with_name)

    def _place(self, kind: str, step: int, save: Callable[[Path], None]) -> str:
        """Write a folder under a temporary name, then give it its own; return it from home."""
        temporary = self._base / f"{kind}-{step}-{self._lease.token}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save(temporary)
        parent = self._base if kind == "state" else self._store.folder("models")
        name = f"{kind}-{step}" if kind == "state" else f"{self._job.id}{STEP_MARK}{step}"
        place_folder(temporary, parent / name)
        return str((parent / name).relative_to(self._store.root))

    def _remove_old_states(self, *, keep: str) -> None:
        for path in self._base.glob("state-*"):
            if path.name != Path(keep).name:
                shutil.rmtree(path, ignore_errors=True)

    def _checkpoint_name(self, step: int) -> str:
        """Return the same name at every attempt: the folder of a killed one may stand, and has it."""
        parts = str(self._job.state["fine_tuned_model"]).split(":")
        letters = IdSource(int(fingerprint([self._job.id, step]), 16)).letters(8)
        return ":".join([*parts[:-1], letters, f"ckpt-step-{step}"])

    def _estimate(self, metrics: StepMetrics) -> None:
        now = self._store.clock()
        if self._first is None:
            self._first = (now, metrics.step)
        started, first = self._first
        if metrics.step > first:
            pace = (now - started) / (metrics.step - first)
            self._finish = int(now + pace * (metrics.total_steps - metrics.step))


def _grader_failed(reward: Reward) -> NewEvent:
    return NewEvent(
        key=f"grader-{reward.error}",
        message=f"An answer could not be graded ({reward.error}): {reward.reason}",
        level="warn",
    )
