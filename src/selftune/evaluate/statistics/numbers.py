"""How far guessed numbers are from the truth."""

import numpy as np

from selftune.core.records import Record
from selftune.evaluate.statistics.bootstrap import bootstrap_mean, has_spread
from selftune.evaluate.statistics.clusters import Groups, Values
from selftune.evaluate.statistics.interval import Interval, need_same_items, need_some


class NumberErrors(Record):
    """How far guesses are from the truth."""

    mean_absolute: float
    interval: Interval | None
    """Of the mean absolute error; None when all errors are the same, or there is one."""
    root_mean_square: float
    r_squared: float | None
    """None when the truth does not vary."""


def number_errors(
    guesses: Values, truths: Values, random: np.random.Generator, groups: Groups | None = None
) -> NumberErrors:
    """Return mean absolute error, root mean square error and the coefficient of determination.

    Raises:
        InvalidInput: there is no guess, or not a truth for each.

    """
    need_some(len(guesses))
    need_same_items(len(guesses), len(truths))
    guess, truth = np.asarray(guesses, float), np.asarray(truths, float)
    errors = guess - truth
    sizes = np.abs(errors)
    spread = float(((truth - truth.mean()) ** 2).sum())
    return NumberErrors(
        mean_absolute=float(np.mean(sizes)),
        interval=bootstrap_mean(sizes, random, groups=groups)
        if has_spread(sizes, groups)
        else None,
        root_mean_square=float(np.sqrt((errors**2).mean())),
        r_squared=None if spread == 0 else 1 - float((errors**2).sum()) / spread,
    )
