"""Nested subsets: each size contains the smaller ones, answers in proportion."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.data.subsets import subsets


def rows(count: int, answers: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"label {n % answers}"},
            ]
        }
        for n in range(count)
    ]


@given(st.integers(1, 80), st.integers(1, 30), st.integers(0, 9), st.data())
def test_each_subset_is_in_the_next(
    count: int, answers: int, seed: int, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, count), max_size=5))
    found = subsets(rows(count, answers), sizes, seed=seed)
    assert list(found) == sorted(set(sizes))
    smaller: set[int] = set()
    for size, chosen in found.items():
        assert len(set(chosen)) == size
        assert list(chosen) == sorted(chosen)
        assert smaller <= set(chosen)
        smaller = set(chosen)


def test_every_subset_has_answers_in_proportion() -> None:
    found = subsets(rows(400, 10), [50, 100, 200])
    for size, chosen in found.items():
        counts = Counter(at % 10 for at in chosen)
        assert all(abs(counts[label] - size / 10) <= 1 for label in range(10))


def test_the_first_rows_can_be_taken_instead() -> None:
    assert subsets(rows(10, 1), [2, 4], order="first") == {2: (0, 1), 4: (0, 1, 2, 3)}


def test_the_seed_decides() -> None:
    same = [subsets(rows(100, 50), [20], seed=seed)[20] for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_size_that_there_is_not_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match="there are 10 training rows"):
        subsets(rows(10, 1), [size])
