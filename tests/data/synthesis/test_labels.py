"""Labels from files and lists, what is missing most, and rows as questions."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.data.synthesis.chats import asked_messages, expected_answer
from selftune.data.synthesis.labels import Label, missing_most, read_labels, same_label

COLOURS = (Label(name="red"), Label(name="blue"))


@pytest.mark.parametrize(
    "text",
    [
        "red\tlike blood\n\nblue\n",
        '["red", "blue"]',
        '{"red": "like blood", "blue": ""}',
        "\ufeffred\r\nblue\r\n",
    ],
)
def test_labels_are_read_in_every_shape(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(text.encode())
    labels = read_labels(str(path))
    assert [label.name for label in labels] == ["red", "blue"]
    assert labels[0].description == ("like blood" if "blood" in text else "")
    assert read_labels("red, blue") == COLOURS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"red\n", "two or more"),
        (b"", "two or more"),
        (b"[1,", "not valid JSON"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"red\nred\n", "more than once"),
    ],
)
def test_labels_that_are_wrong_are_told(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        read_labels(str(path))


@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=12), st.integers(1, 20), st.integers(1, 40)
)
def test_what_lacks_most_is_asked_for_and_never_more_than_it_lacks(
    have: list[int], each: int, count: int
) -> None:
    labels = [Label(name=str(number)) for number in range(len(have))]
    counts = Counter({str(number): times for number, times in enumerate(have)})
    wants = {want.label: want.count for want in missing_most(labels, counts, each, count)}
    lacking = {name: max(0, each - times) for name, times in counts.items()}
    assert sum(wants.values()) == min(count, sum(lacking.values()))
    assert all(number <= lacking[name] for name, number in wants.items())
    left = {name: lacking[name] - wants.get(name, 0) for name in lacking}
    asked = [left[name] for name in wants]
    assert not asked or max(left.values()) <= min(asked) + 1


def test_labels_are_the_same_without_regard_to_dress() -> None:
    assert same_label(" Late  Check-out.", "late check-out")
    assert same_label('"16"', "16")
    assert not same_label("16", "17")
    assert not same_label("-1", "1")


def test_every_kind_of_row_is_a_question_with_an_answer() -> None:
    user, good = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
    preference = {"input": {"messages": [user]}, "preferred_output": [good]}
    item = {"item": {"input_text": "hi", "correct_label": 7}}
    completion = {"prompt": "hi", "completion": " hello"}
    chat = {"messages": [user, good | {"weight": 0}, user, good]}
    assert asked_messages(chat) == [user, good, user]
    for row in (preference, item, completion):
        assert asked_messages(row) == [user]
    system = {"role": "system", "content": "be kind"}
    assert asked_messages(item, "be kind") == [system, user]
    assert asked_messages({"messages": [system, user]}, "be rude") == [system, user]
    assert asked_messages({}) == asked_messages({"messages": [good]}) == []
    assert expected_answer(preference) == "hello"
    assert expected_answer(item) == "7"
    assert expected_answer(item, "input_text") == "hi"
    assert expected_answer(completion) == " hello"
    assert expected_answer(json.loads("{}")) == ""
