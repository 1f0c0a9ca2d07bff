"""Answers as errors, where less is better: what curves and searches compare."""

from collections.abc import Sequence

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.evaluate.curve.report import Metric
from selftune.evaluate.statistics.clusters import Numbers
from selftune.planning.log import Run


def errors_of(runs: Sequence[Run], metric: Metric) -> tuple[Numbers, int]:
    """Return a line of errors for each run, and how many items lack one in some run.

    An item without a score is `nan`.

    Raises:
        InvalidInput: no item has a score in every run; or the graders do not measure this.

    """
    named = {"accuracy": "passed", "score": "credits", "error": "values"}[metric]
    table = np.array([getattr(run, named) for run in runs], float)
    known = ~np.isnan(table)
    if metric == "score" and ((table[known] < 0) | (table[known] > 1)).any():
        raise InvalidInput(
            "The graders give scores that are not from 0 to 1: choose --metric accuracy, or "
            "--metric error where less is better."
        )
    if metric == "error" and (table[known] < 0).any():
        raise InvalidInput(
            "The graders give values below 0, which are no errors: choose --metric accuracy or "
            "--metric score."
        )
    whole = known.all(0)
    if not whole.any():
        raise InvalidInput("No question has a score in every run: there is nothing to compare.")
    return (table if metric == "error" else 1 - table), int((~whole).sum())


def scored_everywhere(table: Numbers) -> Numbers:
    """Return which items have a score in every run, as a column of truths."""
    return np.asarray(~np.isnan(table).any(axis=0))
