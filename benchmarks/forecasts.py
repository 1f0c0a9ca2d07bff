"""Whether the interval of a forecast holds the truth in 95 of 100 learning curves, by simulation.

Curves with a known law are measured at a few sizes with noise, fitted, and forecast to twice and ten
times the largest size. Also counted: how often a flat line is taken for a curve. Fixed seed; run it
with `taskset -c 0 python -m benchmarks.forecasts`: some minutes.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.machine import machine

from selftune.evaluate.curve.fit import Fit, Point, fit_curve
from selftune.evaluate.curve.forecast import Drawn
from selftune.evaluate.curve.words import doubts_of_fit, doubts_of_forecast

RESULT = Path(__file__).parent / "results" / "forecasts.json"
SEED = 20261122
LAWS = ((0.0, 2.0, 0.4), (0.1, 2.0, 0.5), (0.2, 1.0, 0.3), (0.15, 20.0, 1.0))
"""a, b, c of a + b n^-c: no floor, two in the middle, one that levels off fast."""
NOISES = (0.01, 0.03)
"""Standard deviation of one run."""
DESIGNS = (
    ((50, 100, 200, 400), 3),
    ((25, 50, 100, 200, 400), 2),
    ((50, 100, 200, 400, 800, 1600), 1),
)
"""Sizes, and runs of each."""
POOLS = (400, 1600)
"""Rows that runs of up to 400 are drawn from."""
CURVES, DRAWS = 250, 500
ALLOWED = 0.9

Random = np.random.Generator


class Case(NamedTuple):
    """One kind of curve, and how it is measured."""

    law: tuple[float, float, float]
    sizes: tuple[int, ...]
    seeds: int
    noise: float

    def at(self, rows: float) -> float:
        """Return the truth."""
        a, b, c = self.law
        return float(a + b * rows**-c)


def main() -> int:
    """Measure and write the result."""
    started = time.process_time()
    random = np.random.default_rng(SEED)
    apart = _coverage(random, _apart, pools=(None,))
    pooled = _coverage(random, _pooled, pools=POOLS)
    result = {
        "what": "how often a 95 % interval of a forecast holds the truth",
        "machine": machine(),
        "curves_of_each_case": CURVES,
        "fresh_rows_for_each_run": apart,
        "nested_subsets_of_one_pool": pooled,
        "what_is_concluded": _conclusions(random),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0 if min(each["least"] for each in (apart, pooled)) >= ALLOWED else 1


Measure = Callable[[Random, Case, int | None], Fit]


def _apart(random: Random, case: Case, pool: int | None) -> Fit:
    """Measure a curve with rows of its own for each run."""
    del pool
    return fit_curve(
        [
            Point(
                rows=rows,
                errors=tuple(
                    np.maximum(case.at(rows) + case.noise * random.normal(size=case.seeds), 0)
                ),
            )
            for rows in case.sizes
        ],
        most=None,
    )


def _pooled(random: Random, case: Case, pool: int | None) -> Fit:
    """Measure a curve with nested subsets: every row of the pool helps or harms who has it."""
    assert pool is not None
    worth = random.normal(size=pool)
    found = np.zeros((case.seeds, len(case.sizes)))
    for number in range(case.seeds):
        drawn = worth[random.permutation(pool)]
        for place, rows in enumerate(case.sizes):
            luck = drawn[:rows].sum() / rows**0.5 + 0.3 * random.normal()
            found[number, place] = max(case.at(rows) + case.noise * luck, 0)
    points = [
        Point(rows=rows, errors=tuple(errors))
        for rows, errors in zip(case.sizes, found.T.tolist(), strict=True)
    ]
    return fit_curve(points, pool=pool, most=None)


def _coverage(random: Random, measure: Measure, pools: Sequence[int | None]) -> dict[str, Any]:
    """Return how often the interval holds the truth."""
    designs = DESIGNS if pools == (None,) else DESIGNS[:1]
    held: dict[str, float] = {}
    widths: dict[str, float] = {}
    for sizes, seeds in designs:
        for law in LAWS:
            for noise in NOISES:
                for pool in pools:
                    case = Case(law, sizes, seeds, noise)
                    found = [
                        _held(random, case, measure(random, case, pool)) for _ in range(CURVES)
                    ]
                    design = f"{len(sizes)} sizes x {seeds}"
                    design += "" if pool is None else f" of {pool} rows"
                    for place, times in enumerate((2, 10)):
                        name = f"{design}, {law}, noise {noise}, {times} x"
                        held[name] = float(np.mean([each[place][0] for each in found]))
                        widths[name] = float(np.median([each[place][1] for each in found]))
    least = min(held, key=held.__getitem__)
    return {
        "cases": len(held),
        "mean": round(float(np.mean(list(held.values()))), 4),
        "least": round(held[least], 4),
        "most": round(max(held.values()), 4),
        "least_at": least,
        "mean_at_2_x": round(_mean(held, " 2 x"), 4),
        "mean_at_10_x": round(_mean(held, " 10 x"), 4),
        "median_width_at_2_x": round(_mean(widths, " 2 x"), 3),
        "median_width_at_10_x": round(_mean(widths, " 10 x"), 3),
    }


def _mean(found: dict[str, float], end: str) -> float:
    return float(np.mean([value for name, value in found.items() if name.endswith(end)]))


def _held(random: Random, case: Case, fit: Fit) -> list[tuple[bool, float]]:
    """Return for both forecasts whether the interval holds the truth, and how wide it is."""
    drawn = Drawn(fit, draws=DRAWS, seed=int(random.integers(1 << 30)))
    found = []
    for times in (2, 10):
        span = drawn.forecast(times).same_items
        truth = case.at(times * case.sizes[-1])
        low, high = span.low or 0.0, np.inf if span.high is None else span.high
        found.append((low <= truth <= high, high - low))
    return found


def _conclusions(random: Random) -> dict[str, float]:
    """Return how often a curve is called too weak, and how often its forecasts are."""
    cases = {
        "no effect of size": Case((0.3, 0.0, 1.0), *DESIGNS[0], 0.03),
        "a small effect": Case((0.25, 0.4, 0.5), *DESIGNS[0], 0.03),
        "a clear effect": Case((0.1, 2.0, 0.5), *DESIGNS[0], 0.01),
    }
    found: dict[str, float] = {}
    for name, case in cases.items():
        weak = twice = tenfold = 0
        for _ in range(CURVES):
            fit = _apart(random, case, None)
            drawn = Drawn(fit, draws=DRAWS, seed=int(random.integers(1 << 30)))
            is_weak = bool(doubts_of_fit(fit, str))
            weak += is_weak
            twice += not is_weak and not doubts_of_forecast(fit, drawn.forecast(2), str)
            tenfold += not is_weak and not doubts_of_forecast(fit, drawn.forecast(10), str)
        found[f"{name}: too weak"] = round(weak / CURVES, 4)
        found[f"{name}: says what 2 x brings"] = round(twice / CURVES, 4)
        found[f"{name}: says what 10 x brings"] = round(tenfold / CURVES, 4)
    return found


if __name__ == "__main__":
    sys.exit(main())
