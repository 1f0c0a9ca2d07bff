"""What repeats, what contradicts, and what stays."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.data.dedupe import Contradictions, dedupe

LONG = "please tell me how I can change the address of my next delivery"


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def test_a_dropped_row_says_why_and_what_it_repeats() -> None:
    rows = [
        chat(LONG, "In settings."),
        chat(LONG, "In settings."),
        chat(LONG.upper() + "!", "in settings"),
        chat(LONG.replace("next ", ""), "In settings."),
        chat(LONG, "In settings.", metadata={"from": "elsewhere"}),
    ]
    found = dedupe(rows)
    assert [(drop.line, drop.reason, drop.repeats) for drop in found.dropped] == [
        (2, "exact", 1),
        (3, "normalised", 1),
        (4, "near", 1),
        (5, "exact", 1),
    ]
    assert found.kept == (0,)
    assert found.dropped[2].repeated_text == LONG


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (chat(LONG, "In settings."), chat(LONG.replace("next", "last"), "By phone.")),
        (chat(LONG + " 15", "ok"), chat(LONG + " 25", "ok")),
        (chat("is it -5 degrees", "ok"), chat("is it 5 degrees", "ok")),
        (
            {"messages": [{"role": "system", "content": "Be rude."}, *chat(LONG, "a")["messages"]]},
            {"messages": [{"role": "system", "content": "Be kind."}, *chat(LONG, "a")["messages"]]},
        ),
        (chat(LONG, "a", tools=[{"type": "one"}]), chat(LONG, "a", tools=[{"type": "two"}])),
    ],
    ids=("another answer", "another figure", "another sign", "another system", "another tool"),
)
def test_rows_that_teach_something_else_stay(first: Any, second: Any) -> None:
    assert dedupe([first, second]).kept == (0, 1)


@pytest.mark.parametrize(
    ("handling", "kept"), [("keep", (0, 1, 3)), ("drop", (3,)), ("majority", (0, 3))]
)
def test_contradictions_are_told_and_handled_as_asked(
    handling: Contradictions, kept: tuple[int, ...]
) -> None:
    rows = [chat("Open on Monday?", "yes"), chat("open on monday", "no")]
    rows += [chat("Open on Monday?", "yes"), chat("Open on Sunday?", "no")]
    found = dedupe(rows, contradictions=handling)
    assert found.kept == kept
    assert [(one.lines, one.answers) for one in found.contradictions] == [
        ((1, 2, 3), ("yes", "no"))
    ]


def test_where_no_answer_has_the_majority_all_stay() -> None:
    rows = [chat("Open?", "yes"), chat("Open?", "no")]
    assert dedupe(rows, contradictions="majority").kept == (0, 1)


def test_a_chain_of_small_changes_does_not_drop_its_far_end() -> None:
    words = [f"word{n}" for n in range(12)]
    rows = []
    for step in range(12):
        rows.append(chat(" ".join(words), "ok"))
        words[step] = f"other{'abcdefghijkl'[step]}"
    found = dedupe([chat(r["messages"][0]["content"].translate(NO_DIGITS), "ok") for r in rows])
    assert 1 < len(found.kept) < 12
    assert all(drop.repeats - 1 in found.kept for drop in found.dropped)


NO_DIGITS = {ord(str(n)): "qrstuvwxyz"[n] for n in range(10)}

rows_of_few = st.lists(
    st.builds(
        chat,
        st.lists(st.sampled_from("abcdefgh"), max_size=7).map(" ".join),
        st.sampled_from(["x", "y", "Y."]),
    ),
    max_size=30,
)


@given(rows_of_few, st.sampled_from(["keep", "drop", "majority"]))
def test_nothing_is_lost_without_a_reason_and_twice_is_as_once(
    rows: list[dict[str, Any]], handling: Contradictions
) -> None:
    found = dedupe(rows, contradictions=handling)
    dropped = {drop.line - 1 for drop in found.dropped}
    assert sorted([*found.kept, *dropped]) == list(range(len(rows)))
    again = dedupe([rows[at] for at in found.kept])
    assert again.dropped == ()
    for drop in found.dropped:
        if drop.reason != "contradiction" and handling == "keep":
            assert drop.repeats - 1 in found.kept


def test_items_and_fields_are_compared_too() -> None:
    rows = [
        {"item": {"question": "Who?", "answer": "A"}},
        {"item": {"answer": "a", "question": "who"}},
    ]
    assert [drop.reason for drop in dedupe(rows).dropped] == ["normalised"]
    fields = [{"text": LONG, "label": "a"}, {"text": LONG.replace("next ", ""), "label": "a"}]
    assert [drop.reason for drop in dedupe(fields).dropped] == ["near"]


def test_nothing_repeats_in_nothing() -> None:
    assert dedupe([]).kept == ()
