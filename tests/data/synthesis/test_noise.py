"""Small damage: something changes, the figures stay."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.data.synthesis.diversity import diversity
from selftune.data.synthesis.noise import NOISES, Noise, with_noise
from selftune.data.synthesis.novelty import Novelty

DIGITS = re.compile(r"\d")


@given(st.text(max_size=60), st.sampled_from(NOISES), st.integers(0, 99))
def test_damage_keeps_figures_and_is_seeded(text: str, noise: Noise, seed: int) -> None:
    changed = with_noise(text, noise, random.Random(seed))
    assert changed == with_noise(text, noise, random.Random(seed))
    assert DIGITS.findall(changed.upper()) == DIGITS.findall(text.upper())


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("seed", range(20))
def test_damage_changes_a_sentence(noise: Noise, seed: int) -> None:
    text = "could you book the 7 pm table for 2.5 hours, please?"
    changed = with_noise(text, noise, random.Random(seed))
    assert changed != text
    assert "2.5" in changed


def test_what_is_nearly_there_is_not_new() -> None:
    seen = Novelty(["may i have a table by the window for two people tonight please"])
    texts = [
        "May I have a table, by the window, for two people tonight? Please!",
        "may i have a table by the window for two people today please",
        "where is the gym",
        "Where is the gym?",
        "",
    ]
    assert seen.holds(texts) == [True, True, False, False, False]
    assert seen.sift(texts) == [False, False, True, False, True]
    assert seen.sift(["where is the gym"]) == [False]


def test_diversity_says_nothing_about_nothing() -> None:
    none = diversity([])
    assert (none.texts, none.distinct_1, none.self_similarity, none.mean_words) == (
        0,
        None,
        None,
        None,
    )
    two = diversity(["a b c", "a b d"])
    assert two.distinct_1 == pytest.approx(4 / 6)
    assert two.distinct_2 == pytest.approx(3 / 4)
    assert two.self_similarity == pytest.approx(2 / 4)
