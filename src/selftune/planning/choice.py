"""Which trial of a search to take: the best, if it is better than `auto` beyond chance."""

from collections.abc import Mapping, Sequence

import numpy as np

from selftune.core.records import Hyperparameters, Record
from selftune.evaluate.curve.report import Metric, amount, value_of, value_text
from selftune.evaluate.items import Item
from selftune.evaluate.statistics import Interval, has_spread, paired_difference
from selftune.evaluate.statistics.many import best_of_many
from selftune.evaluate.statistics.power import ALPHA
from selftune.planning.errors import errors_of, scored_everywhere
from selftune.planning.log import Run
from selftune.planning.runs import groups_of

_SEED = 20260203


class Choice(Record):
    """What to train with, and why."""

    hyperparameters: Hyperparameters
    best: int
    """The trial with the best metric; 0 is the standard recipe."""
    keep_auto: bool
    gain: Interval | None
    """Of the best over `auto`, on the same validation rows; None where there is none, or nothing is
    known of how sure it is."""
    p_value: float | None
    """How often the best of so many trials would gain as much, if all were equal."""
    words: str


def chosen(runs: Mapping[int, Run], metric: Metric, items: Sequence[Item]) -> Choice:
    """Return what to take of the runs by trial; trial 0 is the standard recipe."""
    if len(runs) < 2:
        return _auto(0, None, None, "Keep auto: nothing else was tried.")
    numbers = sorted(runs)
    table, _ = errors_of([runs[number] for number in numbers], metric)
    known = scored_everywhere(table)
    # Scores: more is better.
    scores = -table[:, known]
    groups = groups_of([item for item, is_known in zip(items, known, strict=True) if is_known])
    means = scores.mean(1)
    at = int(means[1:].argmax()) + 1
    best, gained = numbers[at], float(means[at] - means[0])
    if gained <= 0:
        return _auto(
            0, None, None, f"Keep auto: no other trial was better ({len(runs) - 1} tried)."
        )
    random = np.random.default_rng(_SEED)
    p_value = best_of_many(scores[0].tolist(), scores[1:].tolist(), random, groups=groups)
    gaps = (scores[at] - scores[0]).tolist()
    gain = None
    if has_spread(gaps, groups):
        gain = paired_difference(scores[0].tolist(), scores[at].tolist(), random, groups=groups)
    facts = _facts(metric, best, gained, gain)
    if p_value >= ALPHA:
        return _auto(
            best,
            gain,
            p_value,
            f"Keep auto: no trial is better beyond chance. {facts}, which the best of "
            f"{len(runs) - 1} equal trials would in {p_value:.0%} of searches.",
        )
    value = value_text(metric, value_of(metric, -float(means[at])))
    return Choice(
        hyperparameters=runs[best].asked,
        best=best,
        keep_auto=False,
        gain=gain,
        p_value=p_value,
        words=f"Take trial {best}, with {metric} {value}. {facts}, which the best of "
        f"{len(runs) - 1} equal trials would in {p_value:.1%} of searches only.",
    )


def _auto(best: int, gain: Interval | None, p_value: float | None, words: str) -> Choice:
    return Choice(
        hyperparameters=Hyperparameters(),
        best=best,
        keep_auto=True,
        gain=gain,
        p_value=p_value,
        words=words,
    )


def _facts(metric: Metric, best: int, gained: float, gain: Interval | None) -> str:
    text = f"Trial {best} gains {amount(metric, gained)} over auto"
    if gain is None:
        return text
    low, high = (amount(metric, end) for end in (gain.low, gain.high))
    return f"{text} (95 % interval {low} to {high}, before counting that it was picked)"
