"""The best of many against one."""

import itertools

import numpy as np
import pytest

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.many import best_of_many


def test_the_p_value_is_that_of_all_flips() -> None:
    random = np.random.default_rng(1)
    one, others = random.normal(size=8), random.normal(0.6, 1, size=(3, 8))
    gains = others - one
    best = gains.sum(1).max()
    flips = np.array(list(itertools.product((-1.0, 1.0), repeat=8)))
    exact = ((flips @ gains.T).max(1) >= best - 1e-9).mean()
    found = best_of_many(one.tolist(), others.tolist(), np.random.default_rng(2))
    assert found == pytest.approx(exact, abs=0.02)


def test_a_gain_that_is_there_is_found() -> None:
    random = np.random.default_rng(3)
    one = random.normal(size=100)
    others = [(one + gain + random.normal(0, 0.5, 100)).tolist() for gain in (0.0, 0.4)]
    assert best_of_many(list(one), others, random) < 0.001


def test_looking_at_many_equal_trials_finds_nothing_more_often_than_it_says() -> None:
    random = np.random.default_rng(4)
    found = []
    for _ in range(150):
        truth = random.normal(size=60)
        trials = truth + random.normal(0, 0.7, (11, 60))
        found.append(best_of_many(trials[0].tolist(), trials[1:].tolist(), random))
    # 5 % of 150 is 7.5; more than 15 would be a rare accident. A plain test finds 26 % to 43 %.
    assert sum(p < 0.05 for p in found) <= 15


def test_copies_of_one_trial_count_as_one() -> None:
    random = np.random.default_rng(5)
    one, other = random.normal(size=40), random.normal(0.4, 1, 40)
    alone = best_of_many(list(one), [list(other)], np.random.default_rng(6))
    copies = best_of_many(list(one), [list(other)] * 10, np.random.default_rng(6))
    assert copies == alone


def test_no_trial_is_no_p_value() -> None:
    with pytest.raises(InvalidInput, match="nothing to measure"):
        best_of_many([1.0], [], np.random.default_rng(1))
    assert best_of_many([1.0, 2.0], [[1.0, 2.0]], np.random.default_rng(1)) == 1.0
