"""How much more training data would help: train on nested subsets, ask the same items, forecast."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from selftune import workflow
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import RunFile, load_run_file
from selftune.core.settings import load_settings
from selftune.data.subsets import subsets
from selftune.evaluate.curve.fit import Fit, Point, fit_curve
from selftune.evaluate.curve.report import (
    CurveReport,
    Metric,
    SizeResult,
    doubts_and_notes,
    report_of_fit,
    value_of,
)
from selftune.evaluate.items import Item
from selftune.evaluate.statistics import Interval, bootstrap_mean
from selftune.evaluate.statistics.distributions import two_sided_point
from selftune.planning.bills import Biller
from selftune.planning.errors import errors_of, scored_everywhere
from selftune.planning.log import Run
from selftune.planning.runs import Bench, Progress, Row, bench, carry_out, groups_of
from selftune.prove.home import Home
from selftune.store.store import Store

_LEAST_ROWS = 10
"""Fewer are refused as a training file, by OpenAI and here."""
_TIMES = (2.0, 10.0)
_SEED = 20260202


class CurveOptions(Record):
    """What to try."""

    sizes: tuple[int, ...] = ()
    """Rows; empty: an eighth, a quarter, a half and all of them."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    """How many subsets of each size are drawn and trained on."""
    metric: Metric = "accuracy"
    target: float | None = None
    """In the unit of the metric: how many rows would reach it?"""
    priced_as: str | None = None
    """Whose prices the costs are; None: of the model that is trained."""
    keep_models: bool = False


def plan_curve(
    path: Path,
    options: CurveOptions | None = None,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
) -> CurveReport:
    """Train on nested subsets of a run file's data, ask the same questions, forecast.

    Raises:
        InvalidInput: the run file, the data, a size or the metric; nothing was trained then, but
            for a metric that the graders do not give.
        JobFailed: a training could not succeed.
        Conflict: another process plans under the same name.

    """
    options = options or CurveOptions()
    home, spec = Home(store.settings if store else load_settings(), store), load_run_file(path)
    prepared = workflow.prepare(spec, path.parent)
    sizes = _sizes(options, len(prepared.training))
    asked = (prepared.items, spec.evaluation.graders)
    biller = Biller(home, spec, options.priced_as)
    with bench(home, spec, asked, progress or Progress(), keep_models=options.keep_models) as at:
        runs = _runs(at, prepared.training, sizes, options.seeds)
    return _report(spec, options, prepared.items, (runs, len(prepared.training)), biller)


def _sizes(options: CurveOptions, rows: int) -> tuple[int, ...]:
    """Return the sizes, smallest first."""
    sizes = options.sizes or tuple(rows // part for part in (8, 4, 2, 1))
    small = [size for size in sizes if size < _LEAST_ROWS]
    if small:
        raise InvalidInput(
            f"{small[0]} rows are too few to train on: a size is {_LEAST_ROWS} or more, and there "
            f"are {rows} training rows."
        )
    large = [size for size in sizes if size > rows]
    if large:
        raise InvalidInput(f"There is no subset of {large[0]} rows: there are {rows} to train on.")
    if len(set(sizes)) < 2:
        raise InvalidInput("A curve needs two sizes at the least: four or more tell something.")
    return tuple(sorted(set(sizes)))


def _runs(at: Bench, rows: Sequence[Row], sizes: Sequence[int], seeds: int) -> list[Run]:
    """Carry out every run; the whole curve of one seed before the next one's."""
    found: list[Run] = []
    for number in range(seeds):
        seed = at.spec.model.seed + number
        drawn = subsets(rows, sizes, seed=seed)
        for size in sizes:
            what = f"{size:,} rows, seed {seed}"
            at.progress.stage(what, len(found), len(sizes) * seeds)
            chosen = [rows[place] for place in drawn[size]]
            found.append(carry_out(at, chosen, at.spec.hyperparameters, seed))
    return found


def _report(
    spec: RunFile,
    options: CurveOptions,
    items: tuple[Item, ...],
    made: tuple[list[Run], int],
    biller: Biller,
) -> CurveReport:
    runs, pool = made
    metric = options.metric
    table, left_out = errors_of(runs, metric)
    whole = scored_everywhere(table)
    kept = [item for item, is_scored in zip(items, whole, strict=True) if is_scored]
    table = table[:, whole]
    sizes = sorted({run.rows for run in runs})
    groups = groups_of(kept)
    most = 1.0 if metric != "error" else None
    points, means = [], []
    for size in sizes:
        own = np.array([run.rows == size for run in runs])
        bound = most or float(table.max()) or 1.0  # only looked at where all errors are alike
        mean = bootstrap_mean(
            table[own].mean(0).tolist(),
            np.random.default_rng(_SEED),
            groups=groups,
            bounds=(0.0, bound),
        )
        means.append(mean)
        spread = (mean.high - mean.low) / (2 * two_sided_point(mean.confidence))
        errors = tuple(table[own].mean(1).tolist())
        points.append(Point(rows=size, errors=errors, item_error=spread))
    fit = fit_curve(points, pool=pool, most=most)
    drawn, outlooks = report_of_fit(fit, metric, _TIMES)
    bills = biller.bills(runs)
    doubts, notes = doubts_and_notes(fit, metric)
    return CurveReport(
        name=spec.name,
        metric=metric,
        model=biller.model,
        priced_as=biller.name,
        items=len(kept),
        left_out=left_out,
        sizes=tuple(
            SizeResult(
                rows=point.rows,
                value=_turned(metric, mean),
                runs=tuple(value_of(metric, error) for error in point.errors),
                bill=bills[point.rows],
            )
            for point, mean in zip(fit.points, means, strict=True)
        ),
        fit=fit,
        outlooks=tuple(
            each.model_copy(update={"bill": biller.forecast(runs, each.forecast.rows)})
            for each in outlooks
        ),
        target=options.target,
        need=None if options.target is None else drawn.need(value_of(metric, options.target)),
        doubts=doubts,
        notes=(*notes, *_said(fit, left_out)),
    )


def _turned(metric: Metric, mean: Interval) -> Interval:
    """Return the mean of errors as the metric."""
    if metric == "error":
        return mean
    turned = {"value": 1 - mean.value, "low": 1 - mean.high, "high": 1 - mean.low}
    return mean.model_copy(update=turned)


def _said(fit: Fit, left_out: int) -> tuple[str, ...]:
    told = []
    if left_out:
        told.append(
            f"{left_out:,} questions are left out: an answer to them could not be scored in some "
            "run, and a missing score is no wrong answer."
        )
    if fit.pool is not None and fit.points[-1].rows > fit.pool / 2:
        told.append(
            f"Runs of {fit.points[-1].rows:,} rows share most of the {fit.pool:,} that there are: "
            "that they agree shows little, and the intervals are wider for it."
        )
    return tuple(told)
