"""Statistics against published values and brute force."""

import itertools
import math

import numpy as np
import pytest

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics import (
    bootstrap_mean,
    mcnemar,
    number_errors,
    paired_difference,
    questions_needed,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(
    successes: int, n: int, low: float, high: float
) -> None:
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_no_data_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(InvalidInput, match="n is 0"):
        wilson(0, 0)
    with pytest.raises(InvalidInput, match="n is 0"):
        bootstrap_mean([], np.random.default_rng(0))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 1), (0, 6), (5, 5), (2, 9)])
def test_mcnemar_equals_the_enumeration_of_all_coin_flips(first: int, second: int) -> None:
    n, extreme = first + second, abs(first - second)
    flips = itertools.product((-1, 1), repeat=n)
    share = sum(abs(sum(flip)) >= extreme for flip in flips) / 2**n
    assert mcnemar(first, second) == pytest.approx(share)


def test_a_bootstrap_repeats_with_its_seed_and_holds_the_mean() -> None:
    values = [0.0, 0.0, 1.0, 0.7, 1.0]
    found = bootstrap_mean(values, np.random.default_rng(3))
    assert found == bootstrap_mean(values, np.random.default_rng(3))
    assert found.value == pytest.approx(np.mean(values))
    assert found.low < found.value < found.high


def test_a_paired_comparison_refuses_different_items() -> None:
    with pytest.raises(InvalidInput, match="same items"):
        paired_difference([1.0], [1.0, 0.0], np.random.default_rng(0))


def test_number_errors_of_known_guesses() -> None:
    found = number_errors([1, 2, 3], [1, 4, 3], np.random.default_rng(0))
    assert found.mean_absolute.value == pytest.approx(2 / 3)
    assert found.root_mean_square == pytest.approx(math.sqrt(4 / 3))
    assert found.r_squared == pytest.approx(1 - 4 / (14 / 3))


def test_smaller_differences_need_more_questions() -> None:
    needed = [questions_needed(gap) for gap in (0.3, 0.1, 0.05)]
    assert needed == sorted(needed)
    assert needed[1] == pytest.approx(312, abs=5)  # Connor 1987 with psi 0.4, delta 0.1
