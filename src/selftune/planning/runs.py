"""One run of a plan: train on rows with settings, ask the model every item, keep what came out.

A job says in its metadata which run it is for. After a kill it is found by that and goes on; a run
that was kept is not made again. Models and files are removed once the answers are kept: a plan
trains many, and the one that is wanted is trained by `selftune run`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput, JobFailed, NotFound
from selftune.core.records import Event, Hyperparameters, Identity, Job, TrainSpec
from selftune.core.runfile import RunFile
from selftune.data.keep import keep_rows
from selftune.evaluate.arms import Arm
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.items import Item
from selftune.evaluate.responses import Responses
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import eval_folder
from selftune.evaluate.runner import run_evaluation
from selftune.evaluate.task import Progress as AskingProgress
from selftune.evaluate.task import Task
from selftune.jobs.events import hand_on
from selftune.jobs.queue import JobQuery, get_job, list_jobs
from selftune.models.chosen import catalog_of
from selftune.planning.log import Run, RunLog
from selftune.prove.home import Home
from selftune.store.checkpoints import list_checkpoints
from selftune.store.files import delete_file
from selftune.store.models import get_model
from selftune.store.store import Store
from selftune.train.create import KIND, FinetuneRequest, create_finetuning_job
from selftune.train.leftovers import remove_model
from selftune.worker import run_until_done

MARK = "selftune_plan"
"""Key of a job's metadata; its value is the key of the run that it is for."""
_LOST = ("failed", "cancelled")
Row = dict[str, Any]


class Progress:
    """Hears how a plan goes; this one keeps silent."""

    def stage(self, text: str, done: int, total: int | None) -> None:
        """Hear that a run begins, and how many are done of how many."""

    def events(self, job: Job, new: tuple[Event, ...]) -> None:
        """Hear a job's new events."""

    def answered(self, done: int, total: int) -> None:
        """Hear how many questions a model has answered."""

    def finished(self, run: Run, *, is_new: bool) -> None:
        """Hear of a run that is kept; it may have been made by an earlier start."""


@dataclass(frozen=True)
class Bench:
    """What all runs of a plan share."""

    home: Home
    spec: RunFile
    items: tuple[Item, ...]
    graders: tuple[dict[str, Any], ...]
    log: RunLog
    responses: Responses
    progress: Progress
    keep_models: bool = False

    @property
    def store(self) -> Store:
        """Where jobs and models are."""
        return self.home.store

    @property
    def identity(self) -> Identity:
        """Whose they are."""
        return self.home.identity

    def judging(self, items: tuple[Item, ...], graders: tuple[dict[str, Any], ...]) -> "Bench":
        """Return the same bench with other items and graders."""
        return replace(self, items=items, graders=graders)


@contextmanager
def bench(
    home: Home,
    spec: RunFile,
    asked: tuple[tuple[Item, ...], tuple[dict[str, Any], ...]],
    progress: Progress,
    *,
    keep_models: bool = False,
) -> Iterator[Bench]:
    """Open the folder of a plan for this process alone; `asked` are items and graders.

    Raises:
        Conflict: another process plans under this name.
        InvalidInput: there is nothing to ask, or what was kept is damaged.

    """
    items, graders = asked
    if not items:
        raise InvalidInput("There is no question to ask: the data has no rows to hold out.")
    # As for evals: a name, whatever it is, becomes a safe one.
    folder = home.settings.root / "plans" / eval_folder(home.settings.root, spec.name).name
    responses = Responses(folder / "responses.jsonl")
    try:
        log = RunLog(folder / "runs.jsonl")
        yield Bench(home, spec, items, graders, log, responses, progress, keep_models)
    finally:
        responses.close()


def carry_out(at: Bench, rows: Sequence[Row], wanted: Hyperparameters, seed: int) -> Run:
    """Return a run, made now unless it was made before.

    Raises:
        JobFailed: the training could not succeed, or was paused or cancelled; says what to do.
        InvalidInput: no answer could be scored.

    """
    key = _key(at, rows, wanted, seed)
    found = at.log.find(key)
    if found is None:
        job, seconds = _train(at, key, rows, wanted, seed)
        about = {"key": key, "rows": len(rows), "seed": seed, "asked": wanted}
        found = _judged(at, job, seconds, about)
        at.log.keep(found)
        at.progress.finished(found, is_new=True)
        _clear(at, found)
    else:
        at.progress.finished(found, is_new=False)
        _clear(at, found)  # a kill may have come between keeping and clearing
    return found


def _key(at: Bench, rows: Sequence[Row], wanted: Hyperparameters, seed: int) -> str:
    evaluation, model = at.spec.evaluation, at.spec.model.base
    known = catalog_of(at.home.settings)
    base = known.find(model)
    return fingerprint(
        {
            "rows": fingerprint(list(rows)),
            "items": [item.id for item in at.items],
            "asked": fingerprint([[item.messages, item.item] for item in at.items]),
            "graders": at.graders,
            "sampling": evaluation.model_dump(
                mode="json", include={"temperature", "max_tokens", "samples", "seed"}
            ),
            "base": known.snapshot(model),
            "trained": None if base is None else base.id,
            "hyperparameters": wanted.model_dump(mode="json"),
            "seed": seed,
        }
    )


def _train(
    at: Bench, key: str, rows: Sequence[Row], wanted: Hyperparameters, seed: int
) -> tuple[Job, float]:
    """Return the job that trained the model, and how long it ran."""
    job = _job_of(at, key) or _create(at, key, rows, wanted, seed)
    before, started = job.seconds_used, perf_counter()
    is_done = job.status == "succeeded"
    if not is_done:
        follow = hand_on(at.store, job, at.progress.events)
        job = run_until_done(at.store, job.id, at.identity.project_id, follow)
    if job.status == "paused":
        raise JobFailed(
            f"The training was paused. Resume it with `selftune jobs resume {job.id}`, then repeat "
            "the command: it goes on from here.",
            code="paused",
        )
    if job.status != "succeeded":
        words = job.error.message if job.error else f"The job was {job.status}"
        code = job.error.code if job.error else job.status
        raise JobFailed(f"{words} See `selftune jobs show {job.id}`.", code=code)
    return job, before if is_done else before + perf_counter() - started


def _job_of(at: Bench, key: str) -> Job | None:
    """Return the job that an earlier start made for this run, unless it was in vain."""
    project = at.identity.project_id
    found = list_jobs(at.store, project, KIND, JobQuery(metadata={MARK: key}))
    for job in found.data:
        if job.status == "succeeded":
            with contextlib.suppress(NotFound):  # somebody removed the model, and what was kept
                get_model(at.store, project, str(job.state["fine_tuned_model"]))
                return job
        elif job.status not in _LOST:
            return job
    return None


def _create(at: Bench, key: str, rows: Sequence[Row], wanted: Hyperparameters, seed: int) -> Job:
    training = keep_rows(at.store, at.identity, rows, "training.jsonl")
    request = FinetuneRequest(
        model=at.spec.model.base,
        training_file=training.id,
        suffix=f"plan {at.spec.model.suffix or at.spec.name}",
        seed=seed,
        hyperparameters=wanted,
        metadata={MARK: key},
    )
    return create_finetuning_job(at.store, at.identity, request)


def _judged(at: Bench, job: Job, seconds: float, about: dict[str, Any]) -> Run:
    """Ask the model every item; return the run, of which `about` says what decided it."""
    evaluation, model = at.spec.evaluation, str(job.state["fine_tuned_model"])
    words = {"temperature": evaluation.temperature, "max_tokens": evaluation.max_tokens}
    sampling = {name: value for name, value in words.items() if value is not None}
    task = Task(
        items=lambda: at.items,
        arms=(Arm(name=model, model=model, sampling=sampling),),
        graders=at.graders,
        total=len(at.items),
        samples=evaluation.samples,
        seed=evaluation.seed,
    )
    results, took = ask(at, task)
    used = job.state.get("hyperparameters", {})
    return Run(
        **about,
        used={name: float(value) for name, value in used.items()},
        model=model,
        job=job.id,
        tokens=int(job.state.get("trained_tokens", 0)),
        seconds=seconds,
        asking_seconds=took,
        passed=_by_item(at.items, results, lambda found: float(found.passed)),
        values=_by_item(at.items, results, lambda found: found.value),
        credits=_by_item(at.items, results, lambda found: found.credit),
        is_kept=at.keep_models,
    )


def ask(at: Bench, task: Task) -> tuple[list[Result], float]:
    """Return every result of a task, and how long it took.

    Raises:
        InvalidInput: none of them has a score; says why the first has none.

    """
    results: list[Result] = []

    def told(progress: AskingProgress) -> None:
        at.progress.answered(progress.done, len(at.items) * task.samples)

    backing = at.home.backing(Limits())
    totals = run_evaluation(task, backing, at.responses, results.append, told)
    if not any(result.state == "scored" for result in results):
        first = min(results, key=lambda result: result.index)
        reasons = [first.reason, *(score.reason for score in first.scores)]
        why = next((reason for reason in reasons if reason), "no reason is known")
        raise InvalidInput(f"No answer could be scored: {why}")
    return results, totals.seconds


def groups_of(items: Sequence[Item]) -> list[str] | None:
    """Return what each item belongs to, alone being a group of its own; None where all are alone."""
    if all(item.group is None for item in items):
        return None
    return [f"item {i.index}" if i.group is None else f"group {i.group}" for i in items]


def _by_item(
    items: Sequence[Item], results: Sequence[Result], measure: Callable[[Result], float | None]
) -> tuple[float | None, ...]:
    """Return the mean over an item's samples; None where none of them has one."""
    found: dict[int, list[float]] = {item.index: [] for item in items}
    for result in sorted(results, key=lambda each: (each.index, each.sample)):
        value = measure(result) if result.state == "scored" else None
        if value is not None:
            found[result.index].append(value)
    return tuple(
        sum(values) / len(values) if (values := found[item.index]) else None for item in items
    )


def _clear(at: Bench, run: Run) -> None:
    """Remove the models and the file of a run that is kept; what is gone already is no fault."""
    if run.is_kept:
        return
    project = at.identity.project_id
    with contextlib.suppress(NotFound):
        names = [each.model for each in list_checkpoints(at.store, run.job).data]
        for name in {run.model, *names}:
            with contextlib.suppress(NotFound):
                remove_model(at.store, project, name)
        spec = TrainSpec.model_validate(get_job(at.store, project, run.job).spec)
        delete_file(at.store, project, spec.training_file)
