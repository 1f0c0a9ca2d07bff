"""Statistics against published values, brute force, and simulated coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics import (
    Interval,
    benjamini_hochberg,
    bootstrap,
    bootstrap_mean,
    clopper_pearson,
    clustered_mean,
    cohens_d,
    cohens_h,
    design_effect,
    difference_of_shares,
    discordant_odds,
    holm,
    mcnemar,
    mcnemar_mid,
    number_errors,
    paired,
    paired_difference,
    paired_effect,
    paired_shares,
    scores_equivalent,
    scores_not_worse,
    shares_equivalent,
    shares_not_worse,
    sign_flip,
    standard_error,
    weighted_share,
    wilson,
)
from selftune.evaluate.statistics.distributions import (
    beta_below,
    binomial_at,
    binomial_below,
    student_below,
    student_point,
)


def random() -> np.random.Generator:
    return np.random.default_rng(7)


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


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # The same table, method 5.
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_the_exact_interval_is_the_published_one(
    successes: int, n: int, low: float, high: float
) -> None:
    found = clopper_pearson(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("freedom", "point"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_students_points_are_those_of_the_tables(freedom: int, point: float) -> None:
    assert student_point(0.975, freedom) == pytest.approx(point, abs=5e-4)
    assert student_point(0.025, freedom) == pytest.approx(-point, abs=5e-4)
    assert student_below(student_point(0.9, freedom), freedom) == pytest.approx(0.9, abs=1e-12)


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.data())
def test_a_binomial_tail_is_the_sum_of_its_parts(n: int, share: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    parts = [math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1)]
    assert binomial_below(k, n, share) == pytest.approx(math.fsum(parts), rel=1e-9, abs=1e-12)
    assert binomial_at(k, n, share) == pytest.approx(parts[-1], rel=1e-9, abs=1e-300)


def test_distributions_hold_at_their_ends_and_for_very_many() -> None:
    assert (beta_below(0, 2, 3), beta_below(1, 2, 3)) == (0.0, 1.0)
    assert (binomial_below(-1, 5, 0.5), binomial_below(5, 5, 0.5)) == (0.0, 1.0)
    half = binomial_below(500_000, 1_000_000, 0.5)
    assert half == pytest.approx(0.5 + binomial_at(500_000, 1_000_000, 0.5) / 2, abs=1e-8)
    assert mcnemar(500_000, 502_000) == pytest.approx(
        math.erfc(1999 / 1_002_000**0.5 / 2**0.5), 1e-3
    )


def test_no_data_is_an_error_and_not_a_zero() -> None:
    nothing: list[float] = []
    for made in (
        lambda: wilson(0, 0),
        lambda: clopper_pearson(0, 0),
        lambda: weighted_share([], []),
        lambda: bootstrap_mean(nothing, random()),
        lambda: clustered_mean(nothing),
        lambda: paired_shares(0, 0, 0),
        lambda: sign_flip(nothing, nothing, random()),
        lambda: number_errors(nothing, nothing, random()),
        lambda: shares_not_worse(0, 0, 0, 0.02),
        lambda: discordant_odds(0, 0),
        lambda: cohens_d(nothing, nothing),
    ):
        with pytest.raises(InvalidInput, match="n is 0"):
            made()


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
def test_a_count_that_cannot_be_is_refused(successes: int, n: int) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 5"):
        wilson(successes, n)
    with pytest.raises(InvalidInput, match="differ"):
        paired_shares(successes, 7, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_that_cannot_be_is_refused(confidence: float) -> None:
    with pytest.raises(InvalidInput, match="The confidence"):
        wilson(1, 2, confidence=confidence)
    with pytest.raises(InvalidInput, match="The confidence"):
        clopper_pearson(1, 2, confidence=confidence)
    with pytest.raises(InvalidInput, match="The confidence"):
        paired_shares(0, 1, 2, confidence=confidence)
    with pytest.raises(InvalidInput, match="The confidence"):
        bootstrap_mean([1.0, 2.0], random(), confidence=confidence)
    with pytest.raises(InvalidInput, match="The confidence"):
        clustered_mean([1.0, 2.0], confidence=confidence)


@given(st.integers(1, 400), st.data())
def test_a_share_is_never_certain(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    for found in (wilson(k, n), clopper_pearson(k, n)):
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.low < found.high
    assert wilson(n - k, n).low == pytest.approx(1 - wilson(k, n).high)


def test_equal_weights_weigh_nothing_and_unequal_ones_widen() -> None:
    passed = [True] * 6 + [False] * 4
    plain = wilson(6, 10)
    equal = weighted_share(passed, [3.0] * 10)
    assert (equal.low, equal.high) == pytest.approx((plain.low, plain.high))
    heavy = weighted_share(passed, [9.0, 9.0, 1, 1, 1, 1, 9.0, 9.0, 1, 1])
    assert heavy.value == pytest.approx(22 / 42)
    assert heavy.high - heavy.low > plain.high - plain.low
    for weights in ([0.0] * 10, [-1.0] + [1.0] * 9, [math.nan] * 10):
        with pytest.raises(InvalidInput, match="Weights"):
            weighted_share(passed, weights)


def test_the_difference_of_unpaired_shares_is_the_published_one() -> None:
    # Newcombe (1998b), Statistics in Medicine 17:873, table II, case a, method 10.
    found = difference_of_shares(wilson(48, 80), wilson(56, 70))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "exact", "mid"),
    # Fagerland, Lydersen and Laake (2013), table 4: airway hyper-responsiveness, complete response.
    [(1, 7, 0.0703, 0.0391), (6, 16, 0.0525, 0.0347)],
)
def test_mcnemars_tests_are_the_published_ones(
    first: int, second: int, exact: float, mid: float
) -> None:
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(exact, abs=5e-5)
    assert mcnemar_mid(first, second) == pytest.approx(mid, abs=5e-5)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 1), (0, 6), (5, 5), (2, 9)])
def test_mcnemar_equals_the_enumeration_of_all_coin_flips(first: int, second: int) -> None:
    n, extreme = first + second, abs(first - second)
    flips = list(itertools.product((-1, 1), repeat=n))
    share = sum(abs(sum(flip)) >= extreme for flip in flips) / 2**n
    assert mcnemar(first, second) == pytest.approx(share)


def test_where_nothing_differs_nothing_is_shown() -> None:
    assert mcnemar(0, 0) == mcnemar_mid(0, 0) == 1.0
    assert mcnemar_mid(3, 3) == pytest.approx(1 - math.comb(6, 3) / 2**6 / 2)
    with pytest.raises(InvalidInput, match="below 0"):
        mcnemar(-1, 2)


@pytest.mark.parametrize(
    ("first", "second", "n", "low", "high"),
    [
        (1, 7, 21, 0.026, 0.517),  # Fagerland, Lydersen and Laake (2014), table IV
        (1, 0, 44, -0.118, 0.059),  # Tango (1998): 44 pairs of lenses, one differs
    ],
)
def test_the_paired_interval_is_the_published_one(
    first: int, second: int, n: int, low: float, high: float
) -> None:
    found = paired_shares(first, second, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)
    turned = paired_shares(second, first, n)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@given(st.integers(1, 300), st.data())
def test_a_paired_difference_is_never_certain(n: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, n))
    second = data.draw(st.integers(0, n - first))
    found = paired_shares(first, second, n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high > found.low


def test_without_any_difference_the_interval_is_as_wide_as_n_allows() -> None:
    z = 1.959963984540054
    assert paired_shares(0, 3, 3).high == paired_shares(3, 0, 3).low * -1 == 1.0
    for n in (1, 8, 100):
        found = paired_shares(0, 0, n)
        assert found.high == pytest.approx(z * z / (n + z * z))


def test_a_bootstrap_repeats_with_its_seed_and_holds_the_mean() -> None:
    values = [0.0, 0.0, 1.0, 0.7, 1.0]
    found = bootstrap_mean(values, np.random.default_rng(3))
    assert found == bootstrap_mean(values, np.random.default_rng(3))
    assert found.value == pytest.approx(np.mean(values))
    assert found.low < found.value < found.high


def test_few_kinds_of_values_are_drawn_as_many_kinds_are() -> None:
    few = [0.0] * 30 + [1.0] * 50
    many = [value + 1e-9 * at for at, value in enumerate(few)]
    found = [bootstrap_mean(values, random(), method="percentile") for values in (few, many)]
    assert (found[0].low, found[0].high) == pytest.approx((found[1].low, found[1].high), abs=0.015)
    assert found[0].low == pytest.approx(0.625 - 1.96 * 0.0541, abs=0.015)


def test_bca_moves_both_bounds_towards_the_long_tail() -> None:
    values = random().lognormal(0, 1, 40).tolist()
    plain = bootstrap_mean(values, random(), method="expanded")
    moved = bootstrap_mean(values, random(), method="bca")
    assert moved.low > plain.low
    assert moved.high > plain.high


@pytest.mark.parametrize("values", [[0.5], [1.0] * 5, [0.0] * 5, [0.1 + 0.2, 0.3]])
def test_values_without_spread_give_no_certainty(values: list[float]) -> None:
    with pytest.raises(InvalidInput, match="say between which bounds"):
        bootstrap_mean(values, random())
    found = bootstrap_mean(values, random(), bounds=(0, 1))
    assert found.high - found.low > 0.4
    dollars = bootstrap_mean([100 * value for value in values], random(), bounds=(0, 100))
    assert dollars.high == pytest.approx(100 * found.high)
    with pytest.raises(InvalidInput, match="not inside the bounds"):
        bootstrap_mean(values, random(), bounds=(2, 3))


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="could not be scored"):
        bootstrap_mean([1.0, math.nan], random())


def test_a_paired_comparison_refuses_different_items() -> None:
    with pytest.raises(InvalidInput, match="same items"):
        paired_difference([1.0], [1.0, 0.0], random())


def test_equal_scores_on_a_few_items_do_not_prove_that_models_are_equal() -> None:
    found = paired_difference([1.0] * 4, [1.0] * 4, random(), bounds=(0, 1))
    assert found.value == 0
    assert found.low < -0.4 < 0.4 < found.high


@given(st.lists(st.sampled_from([0.0, 0.7, 1.0]), min_size=1, max_size=8), st.data())
@settings(max_examples=40)
def test_sign_flips_equal_the_enumeration_of_all(first: list[float], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.sampled_from([0.0, 0.7, 1.0]), min_size=len(first), max_size=8))
    second = (second * len(first))[: len(first)]
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    observed = abs(math.fsum(gaps))
    flips = list(itertools.product((-1, 1), repeat=len(gaps)))
    sums = [abs(math.fsum(s * g for s, g in zip(flip, gaps, strict=True))) for flip in flips]
    share = sum(total >= observed - 1e-9 for total in sums) / len(flips)
    assert sign_flip(first, second, random()) == pytest.approx(share)


@pytest.mark.parametrize(("first", "second"), [(3, 9), (10, 30)])
def test_sign_flips_of_right_and_wrong_are_mcnemars_test(first: int, second: int) -> None:
    base = [1.0] * first + [0.0] * second + [1.0] * 20
    tuned = [0.0] * first + [1.0] * second + [1.0] * 20
    drawn = sign_flip(base, tuned, random())
    assert drawn == pytest.approx(mcnemar(first, second), abs=0.005)


def test_very_many_scores_are_drawn_less_often_and_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = random().normal(0, 1, 2000)
    often = bootstrap_mean(scores.tolist(), random())
    for module in (bootstrap, paired):
        monkeypatch.setattr(module, "_WORK", 2000)
    found = bootstrap_mean(scores.tolist(), random())
    assert found != often
    assert (found.low, found.high) == pytest.approx((often.low, often.high), abs=0.01)
    z = float(scores.mean()) / float(scores.std()) * math.sqrt(2000)
    chance = sign_flip([0.0] * 2000, scores.tolist(), random())
    assert chance == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.05)
    assert (chance * 1001) % 1 == pytest.approx(0, abs=1e-6)


def test_items_of_a_group_are_flipped_together() -> None:
    first, second = [0.0] * 12, [1.0] * 12
    assert sign_flip(first, second, random()) == pytest.approx(2 / 2**12)
    groups = [number // 4 for number in range(12)]
    assert sign_flip(first, second, random(), groups=groups) == pytest.approx(2 / 2**3)


def test_a_clustered_error_is_the_published_formula() -> None:
    # Miller (2024), "Adding Error Bars to Evals", section 2.2: every pair inside a group.
    values, groups = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "b", "c", "c"]
    mean = sum(values) / 6
    squared = sum(
        (values[i] - mean) * (values[j] - mean)
        for i, j in itertools.product(range(6), repeat=2)
        if groups[i] == groups[j]
    )
    few = 3 / 2
    assert standard_error(values, groups) == pytest.approx(math.sqrt(few * squared) / 6)


def test_groups_of_one_are_no_groups_and_copies_add_nothing() -> None:
    values = [0.0, 1.0, 1.0, 0.5]
    plain = standard_error(values)
    assert plain == pytest.approx(np.std(values, ddof=1) / 2)
    assert standard_error(values, [1, 2, 3, 4]) == pytest.approx(plain)
    copied, groups = values * 10, [1, 2, 3, 4] * 10
    assert standard_error(copied, groups) == pytest.approx(plain)
    assert clustered_mean(copied, groups).high == pytest.approx(clustered_mean(values).high)
    assert design_effect(copied, groups) > 10
    apart = bootstrap_mean(copied, random())
    together = bootstrap_mean(copied, random(), groups=groups)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_one_group_gives_no_error() -> None:
    for made in (lambda: standard_error([1.0, 0.0], ["a", "a"]), lambda: clustered_mean([1.0])):
        with pytest.raises(InvalidInput, match="at least two"):
            made()
    with pytest.raises(InvalidInput, match="the same"):
        clustered_mean([1.0, 1.0])
    with pytest.raises(InvalidInput, match="the same"):
        design_effect([1.0, 1.0], ["a", "b"])


def test_effects_are_those_of_the_textbook() -> None:
    # Cohen (1988), table 6.2.2: phi is 1.571 at 0.50 and 1.047 at 0.25.
    assert cohens_h(0.25, 0.5) == pytest.approx(1.571 - 1.047, abs=5e-4)
    assert cohens_h(0, 1) == pytest.approx(math.pi)
    assert cohens_d([1, 2, 3], [2, 3, 4]) == pytest.approx(1.0)
    assert paired_effect([1, 2, 3], [2, 4, 6]) == pytest.approx(2.0)
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        cohens_h(-0.1, 1)
    for first, second in (([1.0], [2.0]), ([1.0, 1.0], [1.0, 1.0])):
        with pytest.raises(InvalidInput, match="deviation"):
            cohens_d(first, second)
        with pytest.raises(InvalidInput, match="deviation"):
            paired_effect(first, second)


def test_odds_of_what_differs_follow_the_exact_share() -> None:
    found = discordant_odds(86, 150)  # Agresti: approval in two surveys; ratio 1.74
    share = clopper_pearson(150, 236)
    assert found.value == pytest.approx(1.744, abs=5e-4)
    assert found.low == pytest.approx(share.low / (1 - share.low))
    endless = discordant_odds(0, 5)
    assert (endless.value, endless.high) == (None, None)
    assert endless.low == pytest.approx(0.025**0.2 / (1 - 0.025**0.2))


def test_corrections_for_many_comparisons_are_the_known_ones() -> None:
    # Benjamini and Hochberg (1995), section 3.2: 15 p-values; 4 findings, and 3 for Holm's kind.
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    values += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(p <= 0.05 for p in benjamini_hochberg(values)) == 4
    assert sum(p <= 0.05 for p in holm(values)) == 3
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.04, 0.04))
    assert holm([]) == ()
    with pytest.raises(InvalidInput, match="not a p-value"):
        holm([1.2])


def test_a_margin_test_agrees_with_its_interval() -> None:
    for first, second, n in ((3, 9, 100), (0, 0, 200), (10, 8, 900), (12, 2, 60)):
        found = paired_shares(first, second, n, confidence=0.9)
        for margin in (0.01, 0.03, 0.1):
            not_worse = shares_not_worse(first, second, n, margin) < 0.05
            same = shares_equivalent(first, second, n, margin) < 0.05
            assert not_worse == (found.low > -margin)
            assert same == (-margin < found.low and found.high < margin)


def test_the_margin_test_without_a_margin_is_mcnemars() -> None:
    # Tango (1998): at a margin of 0 the score is McNemar's, here (16 - 6) / sqrt(22).
    chance = shares_not_worse(16, 6, 100, 1e-12)
    assert chance == pytest.approx(0.98351, abs=5e-5)


def test_scores_are_tested_against_a_margin_with_students_t() -> None:
    first, second = [3.0, 4.0, 5.0, 4.0, 2.0], [3.1, 3.9, 5.2, 4.1, 1.9]
    found = clustered_mean([b - a for a, b in zip(first, second, strict=True)], confidence=0.9)
    for margin in (0.05, 0.2):
        assert (scores_not_worse(first, second, margin) < 0.05) == (found.low > -margin)
        same = -margin < found.low and found.high < margin
        assert (scores_equivalent(first, second, margin) < 0.05) == same
    with pytest.raises(InvalidInput, match="margin"):
        scores_not_worse(first, second, 0)
    with pytest.raises(InvalidInput, match="All differences"):
        scores_not_worse(first, first, 0.1)


def test_number_errors_of_known_guesses() -> None:
    found = number_errors([1, 2, 3], [1, 4, 3], random())
    assert found.mean_absolute == pytest.approx(2 / 3)
    assert found.interval is not None
    assert found.root_mean_square == pytest.approx(math.sqrt(4 / 3))
    assert found.r_squared == pytest.approx(1 - 4 / (14 / 3))
    alone = number_errors([5], [7], random())
    assert (alone.mean_absolute, alone.interval, alone.r_squared) == (2, None, None)


def covered(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([found.low <= truth <= found.high for found in intervals]))


@pytest.mark.parametrize(("n", "share"), [(20, 0.5), (50, 0.2), (100, 0.05), (500, 0.9)])
def test_wilsons_interval_holds_the_truth_as_often_as_it_says(n: int, share: float) -> None:
    chances = [binomial_at(k, n, share) for k in range(n + 1)]
    held = [wilson(k, n).low <= share <= wilson(k, n).high for k in range(n + 1)]
    assert 0.93 <= sum(p for p, holds in zip(chances, held, strict=True) if holds) <= 0.97


def test_the_other_intervals_hold_the_truth_as_often_as_they_say() -> None:
    draws = random()
    tables = draws.multinomial(80, [0.1, 0.2, 0.7], 1500)
    pairs = [paired_shares(int(first), int(second), 80) for first, second, _ in tables]
    assert 0.93 <= covered(pairs, 0.1) <= 0.97
    samples = [draws.choice([0.0, 0.7, 1.0], 40, p=[0.2, 0.3, 0.5]).tolist() for _ in range(600)]
    assert 0.925 <= covered([bootstrap_mean(one, draws) for one in samples], 0.71) <= 0.975
    groups = [number // 5 for number in range(100)]
    noise = [
        (draws.normal(0, 1, (20, 1)) + draws.normal(0, 1, (20, 5))).ravel().tolist()
        for _ in range(600)
    ]
    assert 0.925 <= covered([clustered_mean(one, groups) for one in noise], 0) <= 0.975
    assert covered([clustered_mean(one) for one in noise], 0) < 0.85
