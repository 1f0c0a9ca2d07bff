"""Measures of words in common, against what other programs and papers say.

The figures were made with nltk 3.10 (gleu, meteor without synonyms), rouge-score 0.1.2 and sacreBLEU
2.6 (effective order, exponential smoothing); both sides were given the same words.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.evaluate.similarity import METRICS, MOST_CHARACTERS, cosine, similarity

GUIDE = (
    "It is a guide to action which ensures that the military always obeys the commands of the party"
)
GUIDES = "It is a guide to action that ensures that the military will forever heed Party commands"
MAT = ("the cat sat on the mat", "on the mat sat the cat")
SITTING = ("the cat was sitting on the mats", "the cat sat on the mat")
SHORT = ("hello", "hello there general")


@pytest.mark.parametrize(
    ("pair", "figures"),
    [
        (
            (GUIDE, GUIDES),
            {
                "bleu": 0.42085980695,
                "gleu": 0.45454545455,
                "meteor": 0.69444444444,
                "rouge_1": 0.705882,
                "rouge_2": 0.5,
                "rouge_3": 0.4,
                "rouge_4": 0.285714,
                "rouge_5": 0.153846,
                "rouge_l": 0.647059,
            },
        ),
        (
            MAT,
            {
                "bleu": 0.39763536438,
                "gleu": 0.55555555556,
                "meteor": 0.5,
                "rouge_2": 0.6,
                "rouge_l": 0.5,
            },
        ),
        (
            SITTING,
            {
                "bleu": 0.18575057999,
                "gleu": 0.27272727273,
                "meteor": 0.79344262295,
                "rouge_1": 0.615385,
            },
        ),
        (
            SHORT,
            {
                "bleu": 0.13533528324,
                "gleu": 0.16666666667,
                "meteor": 0.17857142857,
                "rouge_1": 0.5,
            },
        ),
    ],
)
def test_a_measure_is_as_published(pair: tuple[str, str], figures: dict[str, float]) -> None:
    for metric, figure in figures.items():
        assert similarity(metric, *pair) == pytest.approx(figure, abs=1e-6), metric


def test_fuzzy_match_is_the_normalised_distance_of_insertions_and_deletions() -> None:
    assert similarity("fuzzy_match", "kitten", "sitting") == pytest.approx(1 - 5 / 13)


def test_words_of_every_script_count() -> None:
    assert similarity("rouge_1", "Москва столица", "столица — Москва!") == 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_is_like_nothing_and_unlike_something(metric: str) -> None:
    assert similarity(metric, "", "") == 1.0
    assert similarity(metric, "", "a word") == 0.0
    assert similarity(metric, "a word", "") == 0.0


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInput, match="100,000 characters"):
        similarity("fuzzy_match", "x" * (MOST_CHARACTERS + 1), "x")
    with pytest.raises(InvalidInput, match="20,000 words"):
        similarity("meteor", "x " * 20_001, "x")


WORDS = st.lists(
    st.sampled_from(["the", "a", "cat", "cats", "sat,", "mat", "on", "ran"]), max_size=12
)


@given(WORDS, WORDS, st.sampled_from(sorted(METRICS)))
def test_every_measure_is_from_0_to_1(said: list[str], wanted: list[str], metric: str) -> None:
    assert 0.0 <= similarity(metric, " ".join(said), " ".join(wanted)) <= 1.0


@given(WORDS, st.sampled_from(sorted(set(METRICS) - {"meteor"})))
def test_a_text_is_like_itself(said: list[str], metric: str) -> None:
    text = " ".join(said)
    assert similarity(metric, text, text) == pytest.approx(1.0)


def test_cosine_is_never_below_nothing() -> None:
    assert cosine([1, 0], [1, 1]) == pytest.approx(2**-0.5)
    assert cosine([1, 0], [-1, 0]) == 0.0
    assert cosine([0, 0], [1, 1]) == 0.0
