"""Whether a 95 % interval holds the truth in 95 of 100 evaluations, and how often a verdict is wrong.

Shares are counted exactly, over every outcome that n questions can have; the rest is simulated with
a fixed seed. Run it with `taskset -c 0 python -m benchmarks.intervals`: some minutes.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.machine import machine

from selftune.evaluate.statistics import (
    Interval,
    bootstrap_mean,
    clopper_pearson,
    clustered_mean,
    has_spread,
    paired_power,
    paired_shares,
    questions_needed,
    wilson,
)
from selftune.evaluate.statistics.distributions import binomial_at
from selftune.evaluate.verdict import share_evidence, verdict

RESULT = Path(__file__).parent / "results" / "intervals.json"
SEED = 20261121
QUESTIONS = (20, 30, 40, 50, 75, 100, 150, 200, 300, 500)
SHARES = tuple(round(0.05 * step, 2) for step in range(1, 20))
PAIRS = ((0.05, 0.0), (0.1, 0.0), (0.1, 0.05), (0.2, 0.0), (0.2, 0.1), (0.4, 0.0), (0.4, 0.2))
"""Share of questions on which two models differ, and the true difference."""
DRAWN_TABLES = 40_000
DRAWN_SAMPLES = 1500
ALLOWED = (0.93, 0.97)

Random = np.random.Generator
Draw = Callable[[Random, int], Any]


def main() -> int:
    """Measure and write the result."""
    started = time.process_time()
    random = np.random.default_rng(SEED)
    singles = {
        name: _shares(made) for name, made in (("wilson", wilson), ("exact", clopper_pearson))
    }
    result = {
        "what": "how often a 95 % interval holds the truth, and how often a verdict is wrong",
        "machine": machine(),
        "share_of_one_model": singles,
        "difference_of_two_models_on_the_same_questions": _paired(random),
        "mean_score": _means(random),
        "mean_score_in_groups_of_5": _grouped(random),
        "verdict_on_equal_models": _false_alarms(random),
        "power_at_the_advised_number_of_questions": _advised(),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0 if ALLOWED[0] <= singles["wilson"]["mean"] <= ALLOWED[1] else 1


def _shares(made: Callable[[int, int], Interval]) -> dict[str, Any]:
    """Return the coverage of an interval for a share, counted exactly."""
    found = {}
    for n in QUESTIONS:
        intervals = [made(k, n) for k in range(n + 1)]
        for share in SHARES:
            found[n, share] = sum(
                binomial_at(k, n, share)
                for k, interval in enumerate(intervals)
                if interval.low <= share <= interval.high
            )
    return _summary(found) | {
        "mean_by_questions": {
            str(n): round(float(np.mean([found[n, share] for share in SHARES])), 4)
            for n in QUESTIONS
        }
    }


def _paired(random: Random) -> dict[str, Any]:
    """Return the coverage of the interval for a difference, by drawn tables."""
    found = {}
    for n in QUESTIONS:
        for differing, gap in PAIRS:
            chances = [(differing - gap) / 2, (differing + gap) / 2, 1 - differing]
            tables = Counter(
                (int(first), int(second))
                for first, second, _ in random.multinomial(n, chances, DRAWN_TABLES)
            )
            held = sum(
                count
                for (first, second), count in tables.items()
                if (interval := paired_shares(first, second, n)).low <= gap <= interval.high
            )
            found[n, differing, gap] = held / DRAWN_TABLES
    return _summary(found)


def _means(random: Random) -> dict[str, Any]:
    """Return the coverage of each interval for a mean score."""
    draws: dict[str, tuple[Draw, float]] = {
        "credit 0, 0.7 or 1": (_credit, 0.3 * 0.7 + 0.5),
        "rubric 1 to 5": (lambda r, n: r.choice(5, n, p=[0.05, 0.1, 0.2, 0.4, 0.25]) + 1.0, 3.7),
        "skewed error": (lambda r, n: r.lognormal(0.0, 1.0, n), float(np.exp(0.5))),
    }
    makers: dict[str, Callable[[Sequence[float]], Interval]] = {
        "percentile": lambda values: bootstrap_mean(values, random, method="percentile"),
        "expanded": lambda values: bootstrap_mean(values, random, method="expanded"),
        "bca": lambda values: bootstrap_mean(values, random),
        "student": clustered_mean,
    }
    return {
        name: {
            f"{kind}, n = {n}": _coverage(
                make, [draw(random, n) for _ in range(DRAWN_SAMPLES)], mean
            )
            for kind, (draw, mean) in draws.items()
            for n in (20, 50, 200)
        }
        for name, make in makers.items()
    }


def _credit(random: Random, n: int) -> Any:
    return random.choice([0.0, 0.7, 1.0], n, p=[0.2, 0.3, 0.5])


def _coverage(
    make: Callable[[Sequence[float]], Interval], samples: Sequence[Any], mean: float
) -> float:
    intervals = [make(sample.tolist()) for sample in samples if has_spread(sample.tolist())]
    held = sum(interval.low <= mean <= interval.high for interval in intervals)
    return round(held / len(intervals), 4)


def _grouped(random: Random) -> dict[str, float]:
    """Return the coverage where five questions share a passage that decides half the variance."""
    found = {}
    for count in (10, 20, 50):
        groups = [number // 5 for number in range(5 * count)]
        samples = [
            (random.normal(0, 1, (count, 1)) + random.normal(0, 1, (count, 5))).ravel().tolist()
            for _ in range(DRAWN_SAMPLES)
        ]
        made = {
            "as if apart": [clustered_mean(sample) for sample in samples],
            "clustered": [clustered_mean(sample, groups) for sample in samples],
            "bootstrap of groups": [bootstrap_mean(s, random, groups=groups) for s in samples],
        }
        for name, intervals in made.items():
            held = sum(interval.low <= 0 <= interval.high for interval in intervals)
            found[f"{name}, {count} groups"] = round(held / len(samples), 4)
    return found


def _false_alarms(random: Random) -> dict[str, float]:
    """Return how often two models that are equal are called better or worse: at most 5 %."""
    found = {}
    for n in (50, 200, 1000):
        tables = random.multinomial(n, [0.1, 0.1, 0.8], 5000)
        counted = Counter((int(first), int(second)) for first, second, _ in tables)
        outcomes: Counter[str] = Counter()
        for (first, second), count in counted.items():
            outcomes[verdict(share_evidence(first, second, n)).outcome] += count
        for outcome in ("better", "worse", "equivalent", "cannot tell"):
            found[f"{outcome}, n = {n}"] = outcomes[outcome] / 5000
    return found


def _advised() -> dict[str, float]:
    """Return the exact power of the exact test with as many questions as are advised for 80 %."""
    cases = ((0.02, 0.05), (0.05, 0.1), (0.05, 0.2), (0.1, 0.2), (0.1, 0.4), (0.2, 0.3))
    return {
        f"{gap} where {differing} differ, n = {n}": round(
            paired_power(n, gap, discordant=differing), 4
        )
        for gap, differing in cases
        if (n := questions_needed(gap, discordant=differing))
    }


def _summary(found: dict[Any, float]) -> dict[str, Any]:
    values = np.array(list(found.values()))
    least = min(found, key=found.__getitem__)
    return {
        "cells": len(found),
        "mean": round(float(values.mean()), 4),
        "least": round(float(values.min()), 4),
        "most": round(float(values.max()), 4),
        "cells_from_93_to_97_percent": int(((values >= ALLOWED[0]) & (values <= ALLOWED[1])).sum()),
        "least_at": list(least),
    }


if __name__ == "__main__":
    sys.exit(main())
