"""Learning curves: the fit, its noise, forecasts, and when they are refused."""

import math

import numpy as np
import pytest

from selftune.core.errors import InvalidInput
from selftune.evaluate.curve.fit import Fit, Point, fit_curve
from selftune.evaluate.curve.forecast import Drawn
from selftune.evaluate.curve.laws import Sizes, fit_law
from selftune.evaluate.curve.report import amount
from selftune.evaluate.curve.words import doubts_of_fit, doubts_of_forecast, note_on_floor

SIZES = (50, 100, 200, 400)
# Published of workload E: dollars of error by training rows; 2,000 rows were tried twice.
PUBLISHED = (
    Point(rows=200, errors=(96.58,)),
    Point(rows=2_000, errors=(79.29, 82.26)),
    Point(rows=20_000, errors=(67.75,)),
)


def points(
    *law: float, noise: float = 0.0, seeds: int = 3, sizes: tuple[int, ...] = SIZES, seed: int = 1
) -> list[Point]:
    """Return runs around a law, with normal noise."""
    a, b, c = law
    random = np.random.default_rng(seed)
    return [
        Point(
            rows=rows,
            errors=tuple(np.maximum(a + b * rows**-c + noise * random.normal(size=seeds), 0)),
        )
        for rows in sizes
    ]


def doubts(fit: Fit) -> str:
    return " ".join(doubts_of_fit(fit, lambda size: amount("accuracy", size)))


@pytest.mark.parametrize("law", [(0.1, 2.0, 0.5), (0.0, 1.5, 0.25), (0.25, 8.0, 1.0)])
def test_a_law_without_noise_is_found_again(law: tuple[float, float, float]) -> None:
    fit = fit_curve(points(*law))
    assert (fit.curve.floor, fit.curve.scale, fit.curve.exponent) == pytest.approx(law, abs=2e-3)
    assert fit.curve.at(4_000) == pytest.approx(law[0] + law[1] * 4_000 ** -law[2], abs=1e-4)


def test_the_published_table_gives_the_curve_through_its_three_sizes() -> None:
    fit = fit_curve(PUBLISHED, most=None)
    # Three means at equal steps of the logarithm: the differences tell 10^-c.
    first, second, third = 96.58, (79.29 + 82.26) / 2, 67.75
    exponent = math.log10((first - second) / (second - third))
    scale = (first - second) / (200**-exponent - 2_000**-exponent)
    assert fit.curve.exponent == pytest.approx(exponent, rel=1e-4)
    assert fit.curve.scale == pytest.approx(scale, rel=1e-3)
    assert fit.curve.floor == pytest.approx(third - scale * 20_000**-exponent, abs=0.1)
    forecast = Drawn(fit).forecast(10)
    assert forecast.rows == 200_000
    assert forecast.error.value == pytest.approx(57.0, abs=0.1)
    assert forecast.gain.value == pytest.approx(10.7, abs=0.1)


def test_the_published_table_is_too_weak_to_forecast_from() -> None:
    fit = fit_curve(PUBLISHED, most=None)
    assert fit.freedom == 1
    assert fit.noise == pytest.approx((82.26 - 79.29) ** 2 / 2)
    said = doubts(fit)
    assert "Three sizes for three parameters" in said
    assert "single pair of runs" in said
    forecast = Drawn(fit).forecast(2)
    assert doubts_of_forecast(fit, forecast, str) != ()
    assert fit.curve.aicc is None


def test_more_rows_are_never_said_to_make_a_model_worse() -> None:
    fit = fit_curve([Point(rows=n, errors=(0.2 + n / 4000, 0.22 + n / 4000)) for n in SIZES])
    assert fit.curve.scale == 0
    assert "More rows did not help: 400 rows are worse than 50" in doubts(fit)


def test_the_floor_is_never_below_zero() -> None:
    # A straight line down to 0 bends more than any law with a floor above it.
    fit = fit_curve([Point(rows=n, errors=(0.5 - n / 900,)) for n in (100, 200, 300, 400)])
    assert fit.curve.floor >= 0


def test_bounded_least_squares_is_the_best_of_a_fine_search() -> None:
    random = np.random.default_rng(5)
    rows, weights = np.array(SIZES, float), random.uniform(0.5, 2, 4)
    errors = random.uniform(0, 1, (20, 4))
    sizes = Sizes(rows, weights)
    found = fit_law("power with floor", sizes, errors, 1.0, np.array([0.4]))
    floors = np.linspace(0, 1, 201)
    scales = np.linspace(0, 12, 601)
    for curve, misfit in zip(errors, found.misfit, strict=True):
        laws = floors[:, None, None] + scales[None, :, None] * rows**-0.4
        least = (((laws - curve) ** 2) @ weights).min()
        assert misfit <= least + 1e-9
        assert misfit == pytest.approx(least, abs=5e-3)


def test_simple_laws_are_told_from_the_whole_one() -> None:
    floored = fit_curve(points(0.2, 20, 1.0, noise=0.004))
    assert floored.curve.aicc is not None
    assert floored.curve.aicc + 4 < min(law.aicc or 0 for law in floored.others)
    note = note_on_floor(floored, lambda error: f"{error:.2f}")
    assert note is not None
    assert "levels off towards 0.20" in note
    bare = fit_curve(points(0.0, 2, 0.4, noise=0.01))
    note = note_on_floor(bare, str)
    assert note is not None
    assert "cannot be told" in note


def test_a_flat_line_is_no_curve() -> None:
    said = doubts(fit_curve(points(0.3, 0, 1, noise=0.02, seed=4)))
    assert "flat line explains the runs as well" in said or "More rows did not help" in said


def test_seeds_that_disagree_more_than_sizes_are_named() -> None:
    runs = [(0.30, 0.50, 0.40), (0.29, 0.49, 0.39), (0.48, 0.28, 0.38), (0.27, 0.47, 0.37)]
    said = doubts(fit_curve([Point(rows=n, errors=e) for n, e in zip(SIZES, runs, strict=True)]))
    assert "Seeds disagree more than sizes" in said


def test_sizes_that_are_close_together_tell_no_curve() -> None:
    said = doubts(fit_curve(points(0.1, 2, 0.5, noise=0.001, sizes=(200, 250, 300, 350))))
    assert "only 1.8 times the smallest" in said


def test_points_that_no_power_law_passes_through_are_named() -> None:
    levels = (0.5, 0.49, 0.2, 0.19, 0.05)
    said = doubts(
        fit_curve(
            [
                Point(rows=n, errors=(e - 0.004, e, e + 0.004))
                for n, e in zip((50, 100, 200, 400, 800), levels, strict=True)
            ]
        )
    )
    assert "a power law is not their law" in said


def test_one_run_of_three_sizes_leaves_nothing_to_measure_noise_by() -> None:
    fit = fit_curve(points(0.1, 2, 0.5, seeds=1, sizes=(50, 100, 200)))
    assert fit.noise is None
    forecast = Drawn(fit).forecast(2)
    assert (forecast.error.low, forecast.gain.high) == (None, None)
    assert "Nothing tells how far runs scatter" in doubts(fit)


def test_a_good_curve_raises_no_doubt() -> None:
    fit = fit_curve(points(0.1, 2, 0.5, noise=0.005))
    assert doubts(fit) == ""
    assert doubts_of_forecast(fit, Drawn(fit).forecast(2), str) == ()


def test_runs_that_share_their_rows_count_for_less() -> None:
    runs = points(0.1, 2, 0.5, noise=0.01)
    apart, shared = fit_curve(runs), fit_curve(runs, pool=400)
    assert shared.variances[-1] == 1.0  # all rows, in every run: one draw of data, however often
    assert apart.variances[-1] == pytest.approx(1 / 3)
    widths = [Drawn(fit).forecast(2).same_items.width or 0 for fit in (apart, shared)]
    assert widths[1] > 1.2 * widths[0]


def test_the_items_widen_what_is_said_of_other_items() -> None:
    known = [
        point.model_copy(update={"item_error": 0.05}) for point in points(0.1, 2, 0.5, noise=0.01)
    ]
    forecast = Drawn(fit_curve(known)).forecast(2)
    assert forecast.error.width is not None
    assert forecast.same_items.width is not None
    assert forecast.error.width > forecast.same_items.width
    assert forecast.error.width > 3 * 0.05


@pytest.mark.parametrize("times", [0, 10.5, math.nan])
def test_no_forecast_goes_beyond_ten_times_the_data(times: float) -> None:
    with pytest.raises(ValueError, match="is not from 0 to 10"):
        Drawn(fit_curve(points(0.1, 2, 0.5, noise=0.01))).forecast(times)


def test_the_rows_for_a_target_are_where_the_curve_meets_it() -> None:
    drawn = Drawn(fit_curve(points(0.1, 2, 0.5, noise=0.002)))
    need = drawn.need(0.1 + 2 * 1_000**-0.5)
    assert need.rows == pytest.approx(1_000, rel=0.15)
    assert None not in (need.low, need.rows, need.high)
    assert (need.low or 0) < (need.rows or 0) < (need.high or 0)
    assert need.reached == 1.0


def test_a_target_below_the_floor_is_never_reached() -> None:
    need = Drawn(fit_curve(points(0.2, 20, 1.0, noise=0.002))).need(0.1)
    assert (need.rows, need.low, need.high, need.reached) == (None, None, None, 0.0)


def test_the_same_runs_give_the_same_forecast() -> None:
    fit = fit_curve(points(0.1, 2, 0.5, noise=0.01))
    assert Drawn(fit).forecast(10) == Drawn(fit).forecast(10)


@pytest.mark.parametrize(
    ("law", "seeds", "sizes"),
    [
        ((0.1, 2.0, 0.5), 3, SIZES),
        ((0.0, 2.0, 0.4), 3, SIZES),
        ((0.2, 1.0, 0.3), 2, (50, 100, 200, 400, 800)),
    ],
)
def test_a_forecast_holds_the_truth_as_often_as_it_says(
    law: tuple[float, float, float], seeds: int, sizes: tuple[int, ...]
) -> None:
    a, b, c = law
    held = {2: 0, 10: 0}
    for number in range(150):
        runs = points(*law, noise=0.02, seeds=seeds, sizes=sizes, seed=number)
        drawn = Drawn(fit_curve(runs), draws=500, seed=number)
        for times in held:
            span = drawn.forecast(times).same_items
            truth = a + b * (times * sizes[-1]) ** -c
            held[times] += (span.low or 0) <= truth <= (span.high or 1)
    # 95 % of 150 is 142; fewer than 135 would be a rare accident.
    assert min(held.values()) >= 135


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([Point(rows=50, errors=(0.1,))], "two sizes at the least"),
        ([Point(rows=50, errors=(0.1,)), Point(rows=50, errors=(0.1,))], "stands twice"),
        ([Point(rows=50, errors=(0.1,)), Point(rows=99, errors=(1.2,))], "from 0 to 1"),
        ([Point(rows=50, errors=(0.1,)), Point(rows=99, errors=(math.nan,))], "from 0 to 1"),
        ([Point(rows=50, errors=(0.1,)), Point(rows=900, errors=(0.1,))], "more than the 800"),
    ],
)
def test_points_that_cannot_be_are_refused(given: list[Point], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        fit_curve(given, pool=800)
