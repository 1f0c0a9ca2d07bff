"""A training run in a folder, which remembers what it was told and can stop or pause at a step."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selftune.core.errors import LeaseLost, Paused
from selftune.train.engine import Resolved, Reward, Sampled, StepMetrics

Grade = Callable[[Sampled], Reward]


class RecordedRun:
    """A `TrainingRun` without a job."""

    def __init__(self, folder: Path, cache: Path, *, stop_at: int = 0, pause_at: int = 0) -> None:
        self.folder, self.cache = folder / "scratch", cache
        self._stop_at, self._pause_at = stop_at, pause_at
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume: Path | None = None
        self.models: dict[int, Path] = {}
        self.states: dict[int, Path] = {}
        self.told: list[str] = []
        self.values: dict[str, Resolved] = {}
        self.steps: list[StepMetrics] = []
        self.grader: Grade | None = None

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        self.told.append(key)

    def resolved(self, values: dict[str, Resolved]) -> None:
        self.told.append("resolved")
        self.values = values

    def step(self, metrics: StepMetrics) -> bool:
        self.told.append("step")
        self.steps.append(metrics)
        if metrics.step == self._stop_at:
            raise LeaseLost("The test stops here.")
        return metrics.step == self._pause_at

    def checkpoint(
        self,
        metrics: StepMetrics,
        epoch: int,
        save_model: Callable[[Path], None] | None,
        save_state: Callable[[Path], None],
    ) -> None:
        base = self.folder.parent
        if save_model is not None:
            self.models[epoch] = _filled(base / f"model-{metrics.step}", save_model)
        self.states[epoch] = _filled(base / f"state-{metrics.step}", save_state)
        if metrics.step == self._pause_at:
            raise Paused("The test pauses here.")

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        assert self.grader is not None, "this run has no grader"
        return [self.grader(each) for each in answers]

    def check(self) -> None:
        pass

    def resumed(self) -> "RecordedRun":
        """Return a run that goes on from the last checkpoint, as the next child would."""
        after = RecordedRun(self.folder.parent, self.cache)
        after.grader = self.grader
        after.models, after.states = dict(self.models), dict(self.states)
        after.resume = self.states[max(self.states)] if self.states else None
        return after

    @property
    def model(self) -> Path:
        return self.models[max(self.models)]


def _filled(folder: Path, write: Callable[[Path], None]) -> Path:
    folder.mkdir()
    write(folder)
    return folder


def write_chats(path: Path, pairs: Sequence[tuple[str, str]], system: str | None = None) -> Path:
    """Write question and answer pairs as a training file."""
    lines = []
    for question, answer in pairs:
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        lines.append(json.dumps({"messages": messages}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
