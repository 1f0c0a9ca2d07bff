"""The words of texts: what makes two texts the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.data.likeness.words import figures, normal_form, similarity, words


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Where is my card?", "where  is my\tcard"),
        ("I don't know.", "i dont know"),
        ("I don’t know", "I don't know"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("cafe\u0301", "café"),
        ("①", "1"),
        ("👍\ufe0f", "👍"),
    ],
)
def test_case_spacing_punctuation_and_encoding_do_not_count(first: str, second: str) -> None:
    assert normal_form(first) == normal_form(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("की", "के"),
        ("5 $", "5 €"),
        ("a < b", "a > b"),
        ("👍", "👎"),
        ("?", "!"),
        ("日本語", "日本人"),
        ("a to b", "b to a"),
    ],
)
def test_what_says_something_else_is_something_else(first: str, second: str) -> None:
    assert normal_form(first) != normal_form(second)


def test_scripts_without_spaces_are_cut_into_pairs_of_characters() -> None:
    assert words("日本語 ok") == ["日本", "本語", "ok"]
    assert 0.5 < similarity("東京から大阪まで行きたいです", "東京から京都まで行きたいです") < 0.8


def test_figures_keep_their_signs_and_points() -> None:
    assert figures("from -5 to 3.50, at 10:30, order A7") == {"-5", "3.50", "10:30"}


@given(st.text())
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_one_for_itself(first: str, second: str) -> None:
    assert similarity(first, second) == similarity(second, first)
    assert similarity(first, first) == 1.0
