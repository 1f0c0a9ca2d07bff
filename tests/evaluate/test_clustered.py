"""Shares of questions that come in groups or are asked several times: brute force and coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics import (
    clustered_share,
    pass_all,
    pass_any,
    spread,
    standard_error,
    wilson,
)
from selftune.evaluate.verdict import grouped_share_evidence


def covered(intra: float, share: float, clusters: int, size: int, *, grouped: bool) -> float:
    """Return how often the interval holds the true share, of 400 draws of correlated answers."""
    random = np.random.default_rng(9)
    a, b = share * (1 / intra - 1), (1 - share) * (1 / intra - 1)
    groups = np.repeat(np.arange(clusters), size)
    hits = 0
    for _ in range(400):
        passes = random.random(clusters * size) < np.repeat(random.beta(a, b, clusters), size)
        found = clustered_share(passes.astype(float), groups if grouped else None)
        hits += found.low <= share <= found.high
    return hits / 400


@pytest.mark.parametrize(
    ("share", "clusters", "size"), [(0.5, 30, 5), (0.8, 20, 10), (0.9, 50, 4), (0.3, 100, 3)]
)
def test_intervals_of_groups_cover_what_they_say(share: float, clusters: int, size: int) -> None:
    assert 0.92 <= covered(0.4, share, clusters, size, grouped=True) <= 0.985


def test_groups_that_are_not_told_make_intervals_too_narrow() -> None:
    assert covered(0.4, 0.5, 30, 5, grouped=False) < 0.85


def test_each_question_in_a_group_of_its_own_is_nearly_wilsons() -> None:
    passed = np.array([1.0] * 60 + [0.0] * 40)
    found, plain = clustered_share(passed), wilson(60, 100)
    assert found.low == pytest.approx(plain.low, abs=0.003)
    assert found.high == pytest.approx(plain.high, abs=0.003)
    assert found.low <= plain.low
    assert found.n == 100


def test_without_any_spread_a_group_is_one_answer() -> None:
    found = clustered_share(np.ones(50), np.repeat(np.arange(10), 5))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(10, 10).low)
    assert clustered_share(np.ones(5), np.zeros(5, np.int64)).low == pytest.approx(wilson(1, 1).low)


def test_many_answers_to_a_question_never_say_more_than_all_apart() -> None:
    shares = np.array([0.5, 0.5, 0.5, 0.5, 0.6, 0.4])
    found = clustered_share(shares, answers=12)
    low = wilson(6, 12).low
    assert found.low == pytest.approx(low)


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        clustered_share([0.5, 1.5])
    with pytest.raises(InvalidInput, match="n is 0"):
        clustered_share([])


def test_numbers_of_groups_say_the_same_as_names() -> None:
    random = np.random.default_rng(2)
    values, groups = random.random(60), random.integers(0, 9, 60)
    names = [f"g{group}" for group in groups]
    assert standard_error(values, groups) == pytest.approx(standard_error(values, names))


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=5),
    st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_pass_at_k_is_what_choosing_every_k_answers_finds(
    answers: list[list[bool]], k: int
) -> None:
    passes = np.array([sum(each) for each in answers])
    samples = np.array([len(each) for each in answers])
    chosen = [list(itertools.combinations(each, k)) for each in answers if len(each) >= k]
    if not chosen:
        with pytest.raises(InvalidInput, match="n is 0"):
            pass_any(passes, samples, k)
        return
    some = np.mean([np.mean([any(one) for one in each]) for each in chosen])
    every = np.mean([np.mean([all(one) for one in each]) for each in chosen])
    assert pass_any(passes, samples, k) == pytest.approx(some)
    assert pass_all(passes, samples, k) == pytest.approx(every)


def test_k_begins_at_one() -> None:
    with pytest.raises(InvalidInput, match="k is 0"):
        pass_all(np.array([1]), np.array([2]), 0)


def test_the_variances_are_those_that_answers_were_drawn_with() -> None:
    random = np.random.default_rng(4)
    own = random.beta(2, 2, 20_000)
    passes = random.binomial(5, own)
    found = spread(passes, np.full(20_000, 5))
    assert found.between == pytest.approx(0.05, rel=0.05)  # of Beta(2, 2): 1 / 20
    assert found.within == pytest.approx(0.2, rel=0.03)  # E p (1 - p): 1 / 5
    assert found.samples_that_pay == pytest.approx(math.ceil(4 / (1.05**2 - 1)), abs=3)


def test_questions_that_do_not_differ_make_every_answer_pay() -> None:
    found = spread(np.array([1, 1, 1, 1]), np.array([2, 2, 2, 2]))
    assert (found.between, found.samples_that_pay) == (0.0, None)


def test_a_model_that_always_says_the_same_needs_one_answer() -> None:
    found = spread(np.array([2, 0, 2, 0]), np.array([2, 2, 2, 2]))
    assert (found.within, found.samples_that_pay) == (0.0, 1)


@pytest.mark.parametrize("samples", [[1, 1, 1], [2, 1, 1]])
def test_one_answer_each_tells_no_variance(samples: list[int]) -> None:
    with pytest.raises(InvalidInput, match="two questions with two answers"):
        spread(np.zeros(3, np.int64), np.array(samples))


def test_equal_models_on_grouped_questions_are_rarely_called_different() -> None:
    random = np.random.default_rng(8)
    groups = np.repeat(np.arange(25), 4)
    shown = 0
    for _ in range(200):
        own = np.repeat(random.beta(1, 1, 25), 4)
        first, second = (random.random((2, 100)) < own).astype(float)
        evidence = grouped_share_evidence(first, second, random, groups=groups)
        shown += evidence.p_value < 0.05
    assert shown / 200 < 0.09


def test_groups_that_all_gain_alike_say_as_much_as_one_question_each() -> None:
    random = np.random.default_rng(8)
    groups = np.repeat(np.arange(8), 2)
    found = grouped_share_evidence([0.0] * 16, [1.0] * 16, random, groups=groups)
    assert found.p_value == pytest.approx(2 / 2**8)
    assert (found.difference.value, found.difference.n) == (1.0, 16)
    assert found.difference.low < 0.75
    half = grouped_share_evidence([0.0, 0.5], [0.5, 1.0], random)
    assert half.difference.value == 0.5
    assert half.p_value == 1.0
