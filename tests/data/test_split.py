"""Splits: nothing alike on two sides, sizes as asked, answers in proportion."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.data.likeness.words import similarity
from selftune.data.split import SplitOptions, group_of, half_width, split

WORDS = [f"w{n}" for n in range(30)]


def chat(question: str, answer: str = "ok", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def distinct(rows: int, answers: int = 1) -> list[dict[str, Any]]:
    """Return chats that share no words, with answers in turn."""
    return [chat(f"q{n} r{n} s{n}", f"label {n % answers}") for n in range(rows)]


def sides(parts: Any) -> list[tuple[int, ...]]:
    return [parts.train, parts.validation, parts.test]


rows_of_few_words = st.lists(
    st.builds(
        chat,
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join),
        st.sampled_from(["a", "b", "c"]),
        metadata=st.fixed_dictionaries({"user": st.integers(0, 12)}),
    ),
    min_size=8,
    max_size=60,
)


@given(rows_of_few_words, st.booleans(), st.integers(0, 5))
def test_every_row_is_on_one_side_and_nothing_alike_on_two(
    rows: list[dict[str, Any]], grouped: bool, seed: int
) -> None:
    options = SplitOptions(
        validation=0.2, test=0.2, seed=seed, group_by="user" if grouped else None
    )
    try:
        parts = split(rows, options)
    except InvalidInput:
        assume(False)  # too few bundles for three sides
        return
    assert sorted(at for side in sides(parts) for at in side) == list(range(len(rows)))
    asked = [row["messages"][0]["content"] for row in rows]
    for ours, theirs in ((0, 1), (0, 2), (1, 2)):
        for at in sides(parts)[ours]:
            for other in sides(parts)[theirs]:
                assert similarity(asked[at], asked[other]) < 0.8
                assert not grouped or group_of(rows[at], "user") != group_of(rows[other], "user")


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (7, 13), (0, 0.5), (0.05, 0), (1, 1)])
def test_sizes_are_exact_where_no_rows_stay_together(validation: float, test: float) -> None:
    parts = split(distinct(100), SplitOptions(validation=validation, test=test))
    wanted = [round(100 * size) if size < 1 else int(size) for size in (validation, test)]
    assert [len(parts.validation), len(parts.test)] == wanted
    assert len(parts.train) == 100 - sum(wanted)


@given(st.lists(st.integers(1, 9), min_size=12, max_size=40), st.integers(0, 99))
def test_sizes_are_as_near_as_groups_allow(sizes: list[int], seed: int) -> None:
    rows = [chat(f"x{g}y{n} {g}z{n}", group=g) for g, size in enumerate(sizes) for n in range(size)]
    parts = split(rows, SplitOptions(group_by="group", seed=seed))
    for got, share in ((parts.validation, 0.1), (parts.test, 0.2)):
        assert abs(len(got) - share * len(rows)) <= max(sizes)


def test_each_answer_is_on_every_side_in_proportion() -> None:
    parts = split(distinct(500, answers=20), SplitOptions(validation=0.2, test=0.2))
    assert parts.stratified
    for side, each in zip(sides(parts), (15, 5, 5), strict=True):
        counts = Counter(at % 20 for at in side)
        assert len(counts) == 20
        assert all(abs(count - each) <= 1 for count in counts.values())


@given(st.integers(0, 1000))
def test_rare_answers_are_on_every_side(seed: int) -> None:
    rows = [chat(f"q{n} r{n}", "rare" if n % 40 == 0 else "often") for n in range(120)]
    parts = split(rows, SplitOptions(validation=12, test=24, seed=seed))
    for side in sides(parts):
        assert any(at % 40 == 0 for at in side)


def test_free_answers_are_not_stratified() -> None:
    assert not split([chat(f"q{n} r{n}", f"It is {n}.") for n in range(50)]).stratified


def test_the_same_seed_draws_the_same_whatever_the_order_of_keys() -> None:
    rows = distinct(60, answers=4)
    turned = [
        {"messages": [dict(reversed(message.items())) for message in row["messages"]]}
        for row in rows
    ]
    assert split(rows) == split(turned)
    assert split(rows) == split(rows, SplitOptions(seed=42))
    assert split(rows).test != split(rows, SplitOptions(seed=43)).test


def test_rows_that_given_test_rows_ask_are_left_out_unless_told_otherwise() -> None:
    rows = [*distinct(30), chat("Where is the harbour?"), chat("where IS the harbour")]
    tests = [{"question": "Where is the harbour?", "answer": "ok"}]
    parts = split(rows, SplitOptions(validation=3), tests)
    assert (parts.left_out, parts.test) == ((30, 31), ())
    assert (len(parts.train), len(parts.validation)) == (27, 3)
    assert parts.leakage is not None
    assert [leak.training_line for leak in parts.leakage.leaks] == [31, 32]
    kept = split(rows, SplitOptions(validation=3, keep_leaks=True), tests)
    assert (kept.left_out, len(kept.train)) == ((), 29)
    assert kept.leakage == parts.leakage


def test_rows_of_a_group_that_is_tested_are_left_out() -> None:
    rows = [chat(f"q{n} r{n}", metadata={"customer": n % 5}) for n in range(40)]
    tests = [{"item": {"question": "new", "customer": 2}}]
    parts = split(rows, SplitOptions(group_by="customer"), tests)
    assert parts.left_out == tuple(range(2, 40, 5))
    assert parts.leakage is not None
    assert {leak.kind for leak in parts.leakage.leaks} == {"group"}


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([], SplitOptions(), "no rows"),
        (distinct(10), SplitOptions(test=10), "leave none of 10 rows to train on"),
        (distinct(10), SplitOptions(test=1.5), r"size 1\.5 of the test rows is neither"),
        (distinct(10), SplitOptions(validation=float("nan")), "size nan of the validation rows"),
        (distinct(10), SplitOptions(validation=float("inf")), "size inf of the validation rows"),
        (distinct(10), SplitOptions(validation=-0.1), "neither a share"),
        (distinct(10), SplitOptions(group_by="user"), "no field 'user' to group by"),
        ([chat("the same thing")] * 20, SplitOptions(), "make 1 bundles"),
        (distinct(10), SplitOptions(near=0.1), r"must be from 0\.5 to 1"),
    ],
)
def test_what_cannot_be_split_says_why(
    rows: list[dict[str, Any]], options: SplitOptions, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        split(rows, options)


def test_advice_tells_of_sides_that_are_too_small() -> None:
    few = split(distinct(12)).advice
    assert any("9 training rows are too few" in line for line in few)
    assert any("2 test rows show only large differences" in line for line in few)
    assert split(distinct(1000)).advice == ()
    large = [chat(f"q{n} r{n}", group=min(n, 50)) for n in range(100)]
    told = split(large, SplitOptions(group_by="group")).advice
    assert any("50 of 100 rows are nearly the same or of one group" in line for line in told)


@pytest.mark.parametrize(("rows", "percent"), [(40, 14.8), (100, 9.6), (1000, 3.1)])
def test_the_half_width_is_wilsons(rows: int, percent: float) -> None:
    assert 100 * half_width(rows) == pytest.approx(percent, abs=0.06)


def test_large_blocks_leave_no_side_empty() -> None:
    rows = [chat(f"q{n} r{n}", group=n // 40) for n in range(80)]
    parts = split(rows, SplitOptions(group_by="group", validation=0, test=0.2))
    assert (len(parts.train), len(parts.test)) == (40, 40)


def test_a_draw_takes_rows_from_everywhere() -> None:
    halves = [
        sum(at < 200 for at in split(distinct(400), SplitOptions(seed=seed)).test)
        for seed in range(20)
    ]
    assert 30 < sum(halves) / len(halves) < 50
