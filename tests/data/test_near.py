"""Near-duplicates against brute force: none is wrong, none is missed."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.data.likeness import candidates
from selftune.data.likeness.near import Pair, clusters, near_pairs, near_pairs_between
from selftune.data.likeness.words import normal_form, similarity

texts = st.lists(
    st.lists(st.sampled_from([f"w{n}" for n in range(14)]), max_size=16).map(" ".join), max_size=24
)
thresholds = st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def pairs_by_hand(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    return {
        (i, j)
        for j, other in enumerate(texts)
        for i in range(j)
        if similarity(texts[i], other) >= threshold
    }


def clusters_by_hand(texts: list[str], threshold: float) -> list[int]:
    found = list(range(len(texts)))
    for i, j in pairs_by_hand(texts, threshold):
        low, high = sorted((found[i], found[j]))
        found = [low if each == high else each for each in found]
    return found


def found_or_spared(found: list[Pair], wanted: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the wanted pairs without those that need not be listed: both are in five others."""
    ours = Counter(pair.first for pair in found)
    theirs = Counter(pair.second for pair in found)
    listed = {(pair.first, pair.second) for pair in found}
    return {(i, j) for i, j in wanted if (i, j) in listed or ours[i] < 5 or theirs[j] < 5}


def made_up(seed: int, rows: int, vocabulary: int, longest: int) -> list[str]:
    """Return texts of which half are another one with up to four words changed."""
    draw = random.Random(seed)
    made: list[list[str]] = []
    for _ in range(rows):
        if made and draw.random() < 0.5:
            words = list(draw.choice(made))
            for _ in range(draw.randint(0, 4)):
                words[draw.randrange(len(words))] = f"w{draw.randrange(vocabulary)}"
        else:
            words = [f"w{draw.randrange(vocabulary)}" for _ in range(draw.randint(1, longest))]
        made.append(words)
    return [" ".join(words) for words in made]


@given(texts, thresholds)
def test_clusters_are_what_brute_force_finds(texts: list[str], threshold: float) -> None:
    assert clusters(texts, threshold) == clusters_by_hand(texts, threshold)


@given(texts, thresholds)
def test_every_pair_is_near_and_pairs_connect_the_clusters(
    texts: list[str], threshold: float
) -> None:
    pairs = near_pairs(texts, threshold)
    assert {(pair.first, pair.second) for pair in pairs} <= pairs_by_hand(texts, threshold)
    found = list(range(len(texts)))
    for pair in pairs:
        assert pair.similarity == similarity(texts[pair.first], texts[pair.second])
        low, high = sorted((found[pair.first], found[pair.second]))
        found = [low if each == high else each for each in found]
    assert found == clusters_by_hand(texts, threshold)


@given(texts, texts, thresholds)
def test_pairs_between_two_sides_are_what_brute_force_finds(
    ours: list[str], theirs: list[str], threshold: float
) -> None:
    forms, others = [normal_form(text) for text in ours], [normal_form(text) for text in theirs]
    wanted = {
        (forms.index(form), others.index(other))
        for form in forms
        for other in others
        if similarity(form, other) >= threshold
    }
    found = near_pairs_between(ours, theirs, threshold)
    assert [(pair.first, pair.second) for pair in found] == sorted(
        set(found_or_spared(found, wanted))
    )


@pytest.fixture
def always_in_piles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deal words into piles for few texts too, which are compared one by one otherwise."""
    monkeypatch.setattr(candidates, "_FEW", 0)


@pytest.mark.usefixtures("always_in_piles")
@pytest.mark.parametrize(
    ("vocabulary", "longest", "threshold"),
    [(9, 6, 0.6), (40, 12, 0.8), (200, 30, 0.7), (300, 60, 0.8), (300, 60, 1.0)],
)
def test_no_text_of_any_size_is_missed_in_the_piles(
    vocabulary: int, longest: int, threshold: float
) -> None:
    texts = made_up(1, 300, vocabulary, longest)
    assert clusters(texts, threshold) == clusters_by_hand(texts, threshold)
    forms = list(dict.fromkeys(normal_form(text) for text in texts))
    ours, theirs = forms[::2], forms[1::2]
    wanted = {
        (i, j)
        for i, form in enumerate(ours)
        for j, other in enumerate(theirs)
        if similarity(form, other) >= threshold
    }
    found = near_pairs_between(ours, theirs, threshold)
    assert {(pair.first, pair.second) for pair in found} == found_or_spared(found, wanted)


@settings(max_examples=25)
@given(texts, st.randoms(use_true_random=False))
def test_the_order_of_texts_changes_no_cluster(texts: list[str], draw: random.Random) -> None:
    order = draw.sample(range(len(texts)), len(texts))
    found, again = clusters(texts), clusters([texts[at] for at in order])
    together = {frozenset(at for at, c in enumerate(found) if c == k) for k in found}
    assert together == {frozenset(order[at] for at, c in enumerate(again) if c == k) for k in again}


def test_a_million_equal_pairs_cost_no_million_pairs() -> None:
    texts = ["My order has not arrived!"] * 20_000 + ["my order has NOT arrived"] * 20_000
    assert len(near_pairs(texts)) == len(texts) - 1
    assert set(clusters(texts)) == {0}
    assert len(near_pairs_between(texts, texts)) == 1


def test_a_pattern_on_both_sides_costs_few_pairs() -> None:
    ours = [f"my order number {n} has not come and i want my money back" for n in range(2_000)]
    theirs = [text.replace("order", "parcel") for text in ours]
    found = near_pairs_between(ours, theirs)
    assert {pair.first for pair in found} == {pair.second for pair in found} == set(range(2_000))
    assert len(found) <= 20_000


def test_rows_of_one_pattern_are_one_cluster() -> None:
    texts = [f"my order number {n} has not come and i want my money back" for n in range(5_000)]
    assert set(clusters(texts)) == {0}


def test_short_rows_of_one_pattern_are_not_near() -> None:
    texts = [f"What is the capital of {name}{name}?" for name in range(3_000)]
    assert near_pairs(texts) == []


def test_texts_of_another_kind_are_never_near() -> None:
    texts = ["one two three four five six"] * 2 + ["one two three four five six seven"] * 2
    assert clusters(texts, kinds=["a", "b", "a", "c"]) == [0, 1, 0, 3]


def test_nothing_is_near_in_nothing() -> None:
    assert clusters([]) == []
    assert near_pairs(["", "", "?"]) == [(0, 1, 1.0)]
    assert near_pairs_between([], ["a"]) == []


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, float("nan")])
def test_a_threshold_that_means_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(InvalidInput, match=r"must be from 0\.5 to 1"):
        clusters(["a"], threshold)
