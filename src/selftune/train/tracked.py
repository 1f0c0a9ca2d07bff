"""A training run that tells trackers what it tells the job.

Each tracker has a thread and a queue of its own: one that fails, or is slow, neither ends nor stalls
the training; a warning in the job's events says so. A job that was interrupted goes on in the same
run of each service: what that has is not told again, what it misses is told from the job's events.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Full, Queue
from time import monotonic
from typing import Any

from selftune.core.errors import LeaseLost, Paused, SelftuneError
from selftune.core.records import EventLevel, Job, Record, TrainSpec
from selftune.core.settings import let_trackers_be_quiet
from selftune.jobs.events import NewEvent, append_events, events_since
from selftune.jobs.queue import Lease, fenced
from selftune.store.store import Store
from selftune.train.engine import Resolved, Reward, Sampled, StepMetrics, TrainingRun
from selftune.train.leftovers import scratch_folder
from selftune.train.metrics import step_data
from selftune.train.tracker import Chosen, Shown, Tracker, build_tracker, chosen_trackers

MOST_WAITING = 10_000
"""Steps that wait for one tracker; more are dropped."""
SETTLE_SECONDS = 30.0
"""How long the end of a training waits for all trackers."""
ABANDON_SECONDS = 5.0
"""The same where the job does not succeed: who cancels or pauses waits for it."""
_log = logging.getLogger("selftune.trackers")


class _Step(Record):
    step: int
    values: dict[str, float]


class _Values(Record):
    values: dict[str, int | float]


class _End(Record):
    succeeded: bool | None


class _Told:
    """A tracker with the thread that tells it."""

    def __init__(self, chosen: Chosen, shown: Shown, earlier: Callable[[], list[_Step]]) -> None:
        self.news: Queue[tuple[EventLevel, str]] = Queue()
        """For the job's events, which the training's own thread writes."""
        self._name = chosen.name
        self._waiting: Queue[_Step | _Values | _End] = Queue(MOST_WAITING)
        self._is_deaf = False
        self._thread = threading.Thread(
            target=self._run, args=(chosen, shown, earlier), name=chosen.name, daemon=True
        )
        self._thread.start()

    def tell(self, what: _Step | _Values | _End) -> None:
        """Have it told something, without waiting."""
        if self._is_deaf:
            return
        try:
            self._waiting.put_nowait(what)
        except Full:
            self._is_deaf = True
            self._warn("is too slow to show the rest of the job")

    def wait(self, seconds: float) -> None:
        """Wait until it was told everything, but not for ever."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive() and not self._is_deaf:
            self._warn("is too slow to show the end of the job")

    def _run(self, chosen: Chosen, shown: Shown, earlier: Callable[[], list[_Step]]) -> None:
        try:
            tracker = build_tracker(chosen, shown)
            if tracker.address is not None:
                self.news.put(("info", f"The job is shown at {tracker.address}"))
            for step in earlier():
                _show(tracker, step)
            while not isinstance(what := self._waiting.get(), _End):
                if isinstance(what, _Step):
                    _show(tracker, what)
                else:
                    tracker.configure(what.values)
            tracker.finish(succeeded=what.succeeded)
        except SelftuneError as error:
            self._warn(f"does not show the job: {error.message}")
        except Exception as error:  # noqa: BLE001 - other people's code: whatever it raises
            _log.warning("the tracker %s failed", self._name, exc_info=True)
            self._warn(
                f"does not show the job any more ({type(error).__name__}): "
                "the log of the job on the server says why"
            )
        self._is_deaf = True

    def _warn(self, text: str) -> None:
        self.news.put(("warn", f"The tracker {self._name} {text}. The training goes on without it"))


def _show(tracker: Tracker, step: _Step) -> None:
    if step.step > tracker.last_step:
        tracker.log(step.step, step.values)
        tracker.last_step = step.step


class Tracked:
    """A `TrainingRun` that hands everything on to another, and its figures to trackers."""

    def __init__(self, run: TrainingRun, told: Sequence[_Told], note: "_Note") -> None:
        self._run, self._told, self._note = run, tuple(told), note
        self.folder, self.cache, self.resume = run.folder, run.cache, run.resume

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        self._run.note(key, message, data)

    def resolved(self, values: dict[str, Resolved]) -> None:
        self._run.resolved(values)
        self._tell(_Values(values={name: value.value for name, value in values.items()}))

    def step(self, metrics: StepMetrics) -> bool:
        must_pause = self._run.step(metrics)
        self._tell(_Step(step=metrics.step, values=_figures(step_data(metrics))))
        return must_pause

    def checkpoint(
        self,
        metrics: StepMetrics,
        epoch: int,
        save_model: Callable[[Path], None] | None,
        save_state: Callable[[Path], None],
    ) -> None:
        self._run.checkpoint(metrics, epoch, save_model, save_state)

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        return self._run.grade(answers)

    def check(self) -> None:
        self._run.check()

    def settle(self, *, succeeded: bool | None, may_note: bool) -> None:
        """Give trackers a moment to be told everything, and how it ended."""
        for each in self._told:
            each.tell(_End(succeeded=succeeded))
        end = monotonic() + (SETTLE_SECONDS if may_note else ABANDON_SECONDS)
        for each in self._told:
            each.wait(end - monotonic())
        if may_note:
            self._note_news()

    def _tell(self, what: _Step | _Values | _End) -> None:
        for each in self._told:
            each.tell(what)
        self._note_news()

    def _note_news(self) -> None:
        for number, each in enumerate(self._told):
            while True:
                try:
                    level, message = each.news.get_nowait()
                except Empty:
                    break
                self._note(f"tracker-{number}-{level}", message, level)


_Note = Callable[[str, str, EventLevel], None]
"""Writes a key, a message and its level into the job's events."""


@contextmanager
def tracked(store: Store, job: Job, lease: Lease, run: TrainingRun) -> Iterator[TrainingRun]:
    """Yield a run that the job's trackers are told of; `run` itself where there are none."""
    spec = TrainSpec.model_validate(job.spec)
    chosen = chosen_trackers(store.settings, spec)
    if not chosen:
        yield run
        return

    def note(key: str, message: str, level: EventLevel) -> None:
        with fenced(store, lease) as (connection, held):
            event = NewEvent(key=key, message=message, level=level)
            append_events(store, connection, held.id, (event,))

    def earlier() -> list[_Step]:
        found = (each.data for each in events_since(store, job.id, 0) if each.type == "metrics")
        return [_Step(step=data["step"], values=_figures(data)) for data in found if data]

    let_trackers_be_quiet()
    told = [
        _Told(each, _shown(store, job, spec, number), earlier) for number, each in enumerate(chosen)
    ]
    following = Tracked(run, told, note)
    succeeded: bool | None = False
    may_note = False
    try:
        yield following
        succeeded = may_note = True
    except (Paused, LeaseLost):
        succeeded = None
        raise
    finally:
        following.settle(succeeded=succeeded, may_note=may_note)


def _shown(store: Store, job: Job, spec: TrainSpec, number: int) -> Shown:
    folder = scratch_folder(store, job.id) / "trackers" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    asked = spec.model_dump(include={"method", "training_file", "validation_file", "seed"})
    return Shown(
        id=job.id,
        model=str(job.state["fine_tuned_model"]),
        base=spec.base,
        config={name: value for name, value in asked.items() if value is not None},
        folder=folder,
        kept=store.root / "trackers" / job.id / str(number),
    )


def _figures(data: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of a step's event; those inside others have both names."""
    found: dict[str, float] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            found |= _figures(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            for each in value:
                found |= _figures(each, f"{prefix}{name}/") if isinstance(each, dict) else {}
        elif isinstance(value, int | float) and name not in ("step", "total_steps"):
            found[prefix + name] = value
    return found
