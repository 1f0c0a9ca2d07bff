"""How many questions it takes, against published values and the exact power."""

import math

import numpy as np
import pytest

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics import (
    detectable_difference,
    detectable_score,
    equivalence_questions_needed,
    mcnemar,
    paired_power,
    questions_needed,
    scores_needed,
    shares_equivalent,
    unpaired_questions_needed,
)


def test_smaller_differences_need_more_questions() -> None:
    needed = [questions_needed(gap) for gap in (0.3, 0.1, 0.05)]
    assert needed == sorted(needed)
    # Connor (1987) with 0.4 that differ and a difference of 0.1: 312, and about 2 / 0.1.
    assert needed[1] == pytest.approx(312 + 20, abs=2)


@pytest.mark.parametrize(
    ("gap", "differing"),
    [(0.02, 0.05), (0.05, 0.1), (0.05, 0.3), (0.1, 0.12), (0.1, 0.4), (0.2, 0.3), (0.3, 0.3)],
)
def test_the_advised_number_of_questions_is_enough_for_the_exact_test(
    gap: float, differing: float
) -> None:
    n = questions_needed(gap, discordant=differing)
    assert paired_power(n, gap, discordant=differing) > 0.795
    assert paired_power(n // 2, gap, discordant=differing) < 0.8


def test_the_power_of_a_test_is_how_often_it_shows_something() -> None:
    random = np.random.default_rng(5)
    tables = random.multinomial(120, [0.05, 0.15, 0.8], 4000)
    shown = np.mean([mcnemar(int(first), int(second)) < 0.05 for first, second, _ in tables])
    assert paired_power(120, 0.1, discordant=0.2) == pytest.approx(shown, abs=0.02)
    assert paired_power(120, 0.0, discordant=0.2) < 0.05


def test_unpaired_questions_are_the_published_number() -> None:
    # Fleiss (1981), table A.3 without correction: 0.5 against 0.6, 5 %, 80 %.
    assert unpaired_questions_needed(0.5, 0.6) == 388
    assert unpaired_questions_needed(0.6, 0.5) == 388
    assert 2 * questions_needed(0.1, discordant=0.2) < unpaired_questions_needed(0.5, 0.6)


def test_scores_need_the_published_number() -> None:
    # Miller (2024), section 5: a variance of 1 / 9 and a difference of 0.03 take 969 questions.
    assert scores_needed(0.03, math.sqrt(1 / 9)) == 969
    assert detectable_score(969, math.sqrt(1 / 9)) == pytest.approx(0.03, abs=1e-4)


@pytest.mark.parametrize("n", [50, 200, 5000])
def test_what_is_detectable_is_what_that_many_questions_show(n: int) -> None:
    least = detectable_difference(n, discordant=0.2)
    assert least is not None
    assert questions_needed(least * 1.0001, discordant=0.2) <= n
    assert questions_needed(least * 0.99, discordant=0.2) > n


def test_too_few_questions_show_nothing() -> None:
    assert detectable_difference(3, discordant=0.2) is None


def test_equivalence_needs_enough_for_both_of_its_tests() -> None:
    n = equivalence_questions_needed(0.05, math.sqrt(0.2))
    assert n is not None
    random = np.random.default_rng(5)
    tables = random.multinomial(n, [0.1, 0.1, 0.8], 2000)
    shown = [shares_equivalent(int(a), int(b), n, 0.05) < 0.05 for a, b, _ in tables]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.03)
    assert equivalence_questions_needed(0.05, 0.4, difference=0.06) is None


@pytest.mark.parametrize("difference", [0.0, 1.5, math.nan])
def test_a_difference_that_cannot_be_is_refused(difference: float) -> None:
    with pytest.raises(InvalidInput, match="difference"):
        questions_needed(difference)


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInput, match="differs"):
        questions_needed(0.1, discordant=0)
    with pytest.raises(InvalidInput, match="power"):
        questions_needed(0.1, power=1)
    with pytest.raises(InvalidInput, match="differs"):
        detectable_difference(10, discordant=2)
    with pytest.raises(InvalidInput, match="n is 0"):
        detectable_difference(0)
    with pytest.raises(InvalidInput, match="deviation"):
        scores_needed(0.1, 0)
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        unpaired_questions_needed(0.5, 1.5)
    with pytest.raises(InvalidInput, match="larger than"):
        paired_power(10, 0.5, discordant=0.2)
