"""Trainings that are tried to plan the real one: how much data, and with which settings.

`curve.py` trains on nested subsets, `search.py` with other hyperparameters; both train and ask by
`runs.py`, which keeps every finished run, so that the same command goes on where it was stopped.
"""

from selftune.planning.curve import CurveOptions, plan_curve
from selftune.planning.runs import Progress
from selftune.planning.search import SearchOptions, plan_search

__all__ = ["CurveOptions", "Progress", "SearchOptions", "plan_curve", "plan_search"]
