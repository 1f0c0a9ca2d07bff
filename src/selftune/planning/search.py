"""Which hyperparameters to train with: trials within a budget, judged on validation rows only.

The standard recipe is trial 0. What beats it must do so by more than the best of so many equal trials
would by chance; else the advice is to keep `auto`.
"""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
from pydantic import Field

from selftune.core.errors import InvalidInput, JobFailed
from selftune.core.records import Hyperparameters, Record
from selftune.core.runfile import load_run_file
from selftune.core.settings import load_settings
from selftune.evaluate.curve.report import Metric, value_of
from selftune.evaluate.items import Item
from selftune.evaluate.task import Task
from selftune.planning.choice import Choice, chosen
from selftune.planning.errors import errors_of
from selftune.planning.log import Run
from selftune.planning.runs import Bench, Progress, Row, ask, bench, carry_out
from selftune.planning.validation import HeldOut, hold_out
from selftune.prove.home import Home
from selftune.store.store import Store
from selftune.train.search import Tried, expected_seconds, propose, require_optimiser

USUAL_TRIALS = 20
_CHECKED_ITEMS = 20
"""Right answers that are graded first, to see whether the graders can read these rows."""


class SearchOptions(Record):
    """How much to try."""

    trials: Annotated[int, Field(ge=1, le=1000)] | None = None
    """With the one of `auto`; None: as many as the budget has time for, or 20."""
    budget_minutes: Annotated[float, Field(gt=0)] | None = None
    """For all trials together, those of an earlier start too."""
    metric: Metric = "accuracy"


class Trial(Record):
    """One recipe and how good its model is."""

    number: int
    asked: Hyperparameters
    used: dict[str, float] = Field(default_factory=dict)
    """The numbers that it came to; empty when it failed."""
    value: float | None
    """The metric on the validation rows; None when it failed."""
    seconds: float
    failed: str | None = None
    """Why it is no candidate."""


class SearchReport(Record):
    """What a search found."""

    name: str
    metric: Metric
    judged_by: str
    training_rows: int
    items: int
    trials: tuple[Trial, ...]
    choice: Choice
    stopped: str
    """Why there are no more trials."""
    notes: tuple[str, ...]

    @property
    def run_file_lines(self) -> str:
        """Return what to write into the run file."""
        values = self.choice.hyperparameters.model_dump()
        lines = (f'{n} = "auto"' if v == "auto" else f"{n} = {v}" for n, v in values.items())
        return "\n".join(("[hyperparameters]", *lines))


def plan_search(
    path: Path,
    options: SearchOptions | None = None,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
) -> SearchReport:
    """Try hyperparameters on a run file's data, and say whether any beat the standard recipe.

    Raises:
        InvalidInput: the run file or the data; or the graders do not give the metric.
        JobFailed: the standard recipe could not be trained.
        MissingExtra: the optimiser is not installed.
        Conflict: another process plans under the same name.

    """
    options = options or SearchOptions()
    require_optimiser()
    home, spec = Home(store.settings if store else load_settings(), store), load_run_file(path)
    held = hold_out(spec, path.parent)
    plain = tuple(item.model_copy(update={"given": None}) for item in held.items)
    told = progress or Progress()
    with bench(home, spec, (plain, spec.evaluation.graders), told) as at:
        judged, metric, words = _judges(at, held, options.metric)
        search = _Search(judged, held.training, metric, options)
        stopped = search.run()
    return SearchReport(
        name=spec.name,
        metric=metric,
        judged_by=words,
        training_rows=len(held.training),
        items=len(plain),
        trials=tuple(search.trials),
        choice=chosen(search.candidates(), metric, judged.items),
        stopped=stopped,
        notes=held.notes,
    )


def _judges(at: Bench, held: HeldOut, metric: Metric) -> tuple[Bench, Metric, str]:
    """Return a bench whose graders can read validation rows, its metric, and what it judges by."""
    if _can_read(at, held.items[:_CHECKED_ITEMS]):
        return at, metric, "the run file's graders"
    grader, own, words = held.own_answers()
    return (
        at.judging(held.plain_items, (grader,)),
        own,
        (
            f"the rows' own answers: {words}. The run file's graders look for fields that training rows "
            "do not have"
        ),
    )


def _can_read(at: Bench, items: Sequence[Item]) -> bool:
    """Return whether the graders score the right answers."""
    task = Task(items=lambda: items, arms=(), graders=at.graders, total=len(items))
    try:
        results, _ = ask(at, task)
    except InvalidInput:
        return False
    return all(result.state == "scored" for result in results)


class _Search:
    """Trials so far."""

    def __init__(
        self, at: Bench, rows: Sequence[Row], metric: Metric, options: SearchOptions
    ) -> None:
        self._at, self._rows, self._metric = at, rows, metric
        self._options = options
        self._most = options.trials or (None if options.budget_minutes else USUAL_TRIALS)
        self._tried: list[Tried] = []
        self._runs: dict[int, Run] = {}
        self.trials: list[Trial] = []

    def run(self) -> str:
        """Try until a limit is met; return which one."""
        while True:
            number = len(self._tried)
            if self._most is not None and number >= self._most:
                return f"{number} trials were asked for"
            wanted = self._next()
            if wanted is None:
                return "the optimiser found nothing new to try"
            if not self._has_time(wanted):
                return (
                    f"the budget of {self._options.budget_minutes:g} minutes has no time for "
                    "another trial"
                )
            self._try(wanted)

    def candidates(self) -> dict[int, Run]:
        """Return the runs that can be compared, by the number of their trial."""
        return {one.number: self._runs[one.number] for one in self.trials if one.failed is None}

    def _next(self) -> Hyperparameters | None:
        """Return the standard recipe first, then the run file's own, then what is proposed."""
        standard, own = Hyperparameters(), self._at.spec.hyperparameters
        if not self._tried:
            return standard
        if len(self._tried) == 1 and own != standard:
            return own
        return propose(self._tried, len(self._rows), self._at.spec.model.seed)

    def _has_time(self, wanted: Hyperparameters) -> bool:
        budget, expected = self._options.budget_minutes, expected_seconds(self._tried, wanted)
        if budget is None or expected is None:
            return True
        return sum(one.seconds for one in self._tried) + expected <= 60 * budget

    def _try(self, wanted: Hyperparameters) -> None:
        number = len(self._tried)
        self._at.progress.stage(f"trial {number}: {recipe(wanted)}", number, self._most)
        started = perf_counter()
        try:
            run = carry_out(self._at, self._rows, wanted, self._at.spec.model.seed)
        except JobFailed as failure:
            if number == 0 or failure.code in ("paused", "cancelled"):
                raise
            self._note(
                Trial(
                    number=number,
                    asked=wanted,
                    value=None,
                    seconds=perf_counter() - started,
                    failed=failure.message,
                )
            )
            return
        self._runs[number] = run
        self._note(self._judged(number, run))

    def _note(self, trial: Trial) -> None:
        error = None if trial.value is None else value_of(self._metric, trial.value)
        self._tried.append(Tried(asked=trial.asked, error=error, seconds=trial.seconds))
        self.trials.append(trial)

    def _judged(self, number: int, run: Run) -> Trial:
        """Return a trial with its metric; one that leaves more unanswered than auto is none."""
        standard = self._runs[0]
        table, _ = errors_of([run], self._metric)
        missing = int(np.isnan(table).sum()) - int(
            np.isnan(errors_of([standard], self._metric)[0]).sum()
        )
        return Trial(
            number=number,
            asked=run.asked,
            used=run.used,
            value=value_of(self._metric, float(np.nanmean(table))) if missing <= 0 else None,
            seconds=run.all_seconds,
            failed=None if missing <= 0 else f"{missing} answers more than of auto have no score",
        )


def recipe(asked: Hyperparameters) -> str:
    """Return hyperparameters as text."""
    if asked == Hyperparameters():
        return "auto"
    rate = asked.learning_rate_multiplier
    return (
        f"epochs {asked.n_epochs}, batch {asked.batch_size}, learning rate x "
        f"{rate if rate == 'auto' else f'{rate:g}'}"
    )
