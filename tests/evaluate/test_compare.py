"""What a comparison concludes, and what it says of why."""

import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.made_rounds import Score, scored_round

from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.compare import Comparison
from selftune.evaluate.report import read_report
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.verdict import (
    Policy,
    Verdict,
    score_evidence,
    share_evidence,
    verdict,
)

Compare = Callable[..., Comparison]


def told(only_base: int, only_tuned: int, n: int, **policy: float | None) -> Verdict:
    return verdict(share_evidence(only_base, only_tuned, n), Policy.model_validate(policy))


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., Comparison]:
    """Return what compares two models' scores; None could not be scored."""

    def compare(base: list[Score], tuned: list[Score], **columns: Sequence[Any]) -> Comparison:
        folder = scored_round(tmp_path / "round", {"base": base, "tuned": tuned}, columns)
        return read_report(folder).comparisons[0]

    return compare


@pytest.mark.parametrize(
    ("only_base", "only_tuned", "n", "outcome"),
    [
        (2, 20, 100, "better"),
        (20, 2, 100, "worse"),
        (3, 3, 1000, "equivalent"),
        (4, 6, 100, "cannot tell"),
        (0, 0, 20, "cannot tell"),
        (0, 0, 200, "equivalent"),
        (0, 1, 1, "cannot tell"),
        (0, 5, 5, "cannot tell"),
        (0, 6, 6, "better"),
    ],
)
def test_the_four_outcomes(only_base: int, only_tuned: int, n: int, outcome: str) -> None:
    found = told(only_base, only_tuned, n)
    assert found.outcome == outcome
    assert (found.more_questions is None) == (outcome != "cannot tell")
    assert f"{n:,} question" in found.words
    assert "p = " in found.words
    assert len(found.reasons) >= 2


def test_where_test_and_interval_disagree_it_is_said() -> None:
    assert "leaves out 0" in told(1, 7, 21).reasons[1]
    assert all("leaves out 0" not in reason for reason in told(3, 7, 21).reasons)


def test_nothing_is_concluded_from_nothing() -> None:
    with pytest.raises(InvalidInput, match="n is 0"):
        told(0, 0, 0)


def test_a_verdict_is_the_same_each_time_and_turns_with_the_models() -> None:
    assert told(3, 12, 90) == told(3, 12, 90)
    there, back = told(2, 14, 60), told(14, 2, 60)
    assert (there.outcome, back.outcome) == ("better", "worse")


@pytest.mark.parametrize("only_tuned", range(1, 9))
def test_as_many_questions_as_are_asked_for_would_tell(only_tuned: int) -> None:
    n = 60
    found = told(1, only_tuned, n)
    if found.more_questions is None:
        assert found.outcome == "better"
        return
    larger = 1 + found.more_questions / n
    later = told(round(larger), round(only_tuned * larger), n + found.more_questions)
    assert later.outcome != "cannot tell"
    assert f"{found.more_questions:,} more" in found.words
    assert f"{n + found.more_questions:,} in all" in found.words


def test_without_a_margin_nothing_is_equivalent_and_no_loss_is_acceptable() -> None:
    found = told(3, 3, 100_000, margin=None)
    assert (found.outcome, found.more_questions, found.no_worse) == ("cannot tell", None, None)
    assert "set a margin" in found.words
    assert len(found.reasons) == 1


@pytest.mark.parametrize("margin", [0.0, -0.1, math.inf])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInput, match="margin"):
        told(1, 2, 30, margin=margin)


@pytest.mark.parametrize(
    ("counts", "no_worse", "words"),
    [
        ((5, 5, 1000), True, "smaller than the margin"),
        ((0, 60, 1000), True, "A gain of less than 2 points, the margin, is ruled out"),
        ((60, 0, 1000), False, "A loss of less than 2 points, the margin, is ruled out"),
        ((0, 21, 1000), True, "A gain of less than 2 points, the margin, is not ruled out"),
        ((6, 16, 1000), True, "smaller than the margin"),
        ((40, 55, 1000), True, "a gain of as much is not"),
        ((55, 40, 1000), False, "a loss of as much is not"),
        ((3, 4, 50), False, "Neither a gain nor a loss"),
    ],
)
def test_what_is_ruled_out_is_said(
    counts: tuple[int, int, int], no_worse: bool, words: str
) -> None:
    found = told(*counts)
    assert found.no_worse is no_worse
    assert words in found.reasons[-1]


def test_a_difference_that_is_certain_and_small_says_both() -> None:
    found = told(100, 200, 100_000)
    assert found.outcome == "better"
    assert "smaller than the margin of 2 points" in found.reasons[1]


def test_equal_models_are_rarely_called_different() -> None:
    tables = np.random.default_rng(11).multinomial(150, [0.15, 0.15, 0.7], 1000)
    outcomes = [told(int(first), int(second), 150).outcome for first, second, _ in tables]
    assert np.mean([outcome in ("better", "worse") for outcome in outcomes]) < 0.06


def test_scores_are_judged_as_shares_are() -> None:
    random = np.random.default_rng(1)
    base = random.choice([1.0, 2.0, 3.0, 4.0, 5.0], 80).tolist()
    better = [min(score + 0.5, 5) for score in base[:60]] + base[60:]
    found = verdict(
        score_evidence(base, better, random), Policy(margin=0.1), ("round 1", "round 2")
    )
    assert found.outcome == "better"
    assert found.words.startswith("Round 2 is better than round 1: +0.")
    assert "points" not in found.words
    noise = [score + gap for score, gap in zip(base, random.normal(0, 1, 80), strict=True)]
    unsure = verdict(score_evidence(base, noise, random), Policy(margin=0.1))
    assert unsure.outcome == "cannot tell"
    assert unsure.more_questions is not None
    assert unsure.more_questions >= 80
    with pytest.raises(InvalidInput, match="bounds"):
        score_evidence(base, base, random)


def test_what_could_not_be_scored_is_left_out_and_not_wrong(compared: Compare) -> None:
    found = compared([0.0] * 10 + [1.0] * 10, [1.0] * 10 + [None] * 10)
    assert (found.outcome, found.left_out) == ("better", 10)
    assert found.difference is not None
    assert (found.difference.value, found.difference.n) == (1.0, 10)
    assert found.only_baseline == ()
    assert "10 of 20 questions are left out" in found.verdict.reasons[2]
    assert "they would make it +0.0 points (p = 1): cannot tell" in found.verdict.reasons[2]


def test_where_nothing_could_be_scored_there_is_no_difference(compared: Compare) -> None:
    found = compared([None, 1.0], [1.0, None])
    assert (found.difference, found.p_value, found.left_out) == (None, None, 2)
    assert found.outcome == "cannot tell"
    assert "none of 2 questions" in found.words


def test_categories_are_corrected_for_their_number(compared: Compare) -> None:
    base = [1.0] * 8 + [0.0] * 42
    tuned = [0.0] * 8 + [0.0] * 36 + [1.0] * 6
    found = compared(
        [*base], [*tuned], category="a" * 10 + "b" * 10 + "c" * 10 + "d" * 10 + "e" * 10
    )
    first, last = found.categories[0], found.categories[-1]
    assert [one.name for one in found.categories] == list("abcde")
    assert first.p_value == pytest.approx(2 / 2**8)
    assert first.adjusted == pytest.approx(5 * first.p_value)
    assert last.p_value == pytest.approx(2 / 2**6)
    assert last.p_value < 0.05 < last.adjusted
    assert found.verdict.reasons[-1].startswith("Worse in 'a': -80.0 points on 10 questions")


def test_graded_scores_are_compared_beside_what_passes(compared: Compare) -> None:
    found = compared([0.0, 0.7] * 20, [0.7, 0.7] * 20)
    assert found.score is not None
    assert found.score.difference.value == pytest.approx(0.35)
    assert found.score.p_value < 0.001
    assert found.score_effect == pytest.approx(0.35 / np.std([0.7, 0.0] * 20, ddof=1))
    assert "The mean score changes by +0.35" in found.verdict.reasons[-1]


def test_scores_that_only_pass_or_not_are_not_compared_twice(compared: Compare) -> None:
    assert compared([0.0, 1.0], [1.0, 1.0]).score is None


def test_effect_and_odds_say_how_large_it_is(compared: Compare) -> None:
    found = compared([1.0] * 2 + [0.0] * 8 + [1.0] * 30, [0.0] * 2 + [1.0] * 8 + [1.0] * 30)
    assert found.odds is not None
    assert (found.odds.value, found.odds.n) == (4.0, 10)
    assert found.effect == pytest.approx(2 * (math.asin(0.95**0.5) - math.asin(0.8**0.5)))
    assert compared([1.0, 0.0], [1.0, 0.0]).odds is None


def test_no_question_at_all_is_an_error(compared: Compare) -> None:
    with pytest.raises(InvalidInput, match="no questions"):
        compared([], [])


def test_a_change_of_the_error_that_is_everywhere_the_same_is_no_certainty(
    compared: Compare,
) -> None:
    assert compared([0.4, 0.5, 0.4], [0.3, 0.4, 0.3]).score is None


def test_groups_that_agree_say_less_than_as_many_questions_apart(compared: Compare) -> None:
    base, tuned = [0.0] * 40 + [1.0] * 160, [1.0] * 40 + [1.0] * 160
    alone = compared([*base], [*tuned])
    grouped = compared([*base], [*tuned], group=[f"text {at // 20}" for at in range(200)])
    assert (alone.test, grouped.test) == ("exact McNemar", "sign-flip permutation")
    assert alone.difference is not None
    assert grouped.difference is not None
    assert alone.difference.value == grouped.difference.value == 0.2
    assert grouped.difference.high > alone.difference.high
    # Two of ten texts changed: all flips of two signs give 2 of 4 sums as large.
    assert (alone.outcome, grouped.outcome) == ("better", "cannot tell")
    assert grouped.p_value == 0.5
    assert "+20.0 points on 200 questions" in grouped.words
    assert grouped.odds is None


def test_groups_of_which_none_changed_are_equal_within_what_so_many_tell(
    compared: Compare,
) -> None:
    same: list[Score] = [1.0, 0.0] * 600
    found = compared([*same], [*same], group=[f"text {at // 2}" for at in range(1200)])
    assert found.outcome == "equivalent"
    assert found.difference is not None
    assert found.difference.high == pytest.approx(1.96**2 / (600 + 1.96**2), rel=1e-3)


@pytest.mark.parametrize("arms", [2, 4])
def test_several_models_are_corrected_for_their_number(tmp_path: Path, arms: int) -> None:
    base = [0.0] * 40
    models = {"base": base} | {f"m{at}": [1.0] * (6 + at) + [0.0] * (34 - at) for at in range(arms)}
    report = read_report(scored_round(tmp_path, models))
    alone = [2 / 2 ** (6 + at) for at in range(arms)]
    found = [one.p_value for one in report.comparisons]
    assert found[0] == pytest.approx(alone[0])
    assert found[-1] == pytest.approx(min(1, alone[-1] * arms))
    assert f"corrected for {arms} comparisons" in report.comparisons[0].words
    assert [arm.summary.name for arm in report.arms] == list(models)


def test_any_model_can_be_the_baseline(tmp_path: Path) -> None:
    scores = {"a": [0.0] * 10, "b": [1.0] * 10, "c": [0.0] * 10}
    report = read_report(scored_round(tmp_path, scores), baseline="b")
    assert report.baseline == "b"
    assert [(one.name, one.outcome) for one in report.comparisons] == [
        ("a", "worse"),
        ("c", "worse"),
    ]
    with pytest.raises(NotFound, match="no model 'd' to compare with: there is 'a', 'b', 'c'"):
        read_report(RoundFolder(tmp_path), baseline="d")


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, None]), st.sampled_from([0.0, 1.0, None])),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=40, deadline=None)
def test_flips_are_those_that_counting_finds(pairs: list[tuple[Score, Score]]) -> None:
    base, tuned = [a for a, _ in pairs], [b for _, b in pairs]
    with TemporaryDirectory() as folder:
        found = read_report(scored_round(Path(folder), {"base": base, "tuned": tuned}))
    one = found.comparisons[0]
    assert one.only_baseline == tuple(i for i, p in enumerate(pairs, 1) if p == (1.0, 0.0))
    assert one.only_this == tuple(i for i, p in enumerate(pairs, 1) if p == (0.0, 1.0))
    assert one.left_out == sum(None in pair for pair in pairs)
    scored = [b for b in tuned if b is not None]
    accuracy = found.arms[1].summary.accuracy
    assert (accuracy is None) == (not scored)
    if accuracy is not None:
        assert (accuracy.value, accuracy.n) == (sum(scored) / len(scored), len(scored))


def test_the_program_of_the_docs_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "is-it-better.md"
    program = re.findall(r"^```py\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", program[0]], capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "0.625"
    assert lines[2] == "665"
    assert lines[3].startswith("The tuned model is better than the base: +9.0 points")
