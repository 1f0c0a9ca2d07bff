"""Which head suits a training file, told from the file alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.train.recorded import write_chats

from selftune.train.builtin.examples import load_examples
from selftune.train.builtin.weighing import is_worth_writing

THINGS = ("sled", "oboe", "tent", "kite", "vase", "drum", "boot", "lamp", "sofa", "coin")


def answers(kind: str) -> Sequence[str]:
    made = {
        "labels with a number": [f"label_{n % 30}" for n in range(90)],
        "bare numeric labels": [str(n % 30) for n in range(90)],
        "amounts": [f"${3 * n + 5}.99" for n in range(90)],
        "whole amounts": [f"about {7 * n + 5} dollars" for n in range(90)],
        "free texts": [
            f"The {THINGS[n % 10]} in row {n} of hall {THINGS[n // 9]}" for n in range(90)
        ],
    }
    return made[kind]


@pytest.mark.parametrize(
    ("answered", "head"),
    [
        ("labels with a number", "labels"),
        ("bare numeric labels", "labels"),
        ("amounts", "numbers"),
        ("whole amounts", "numbers"),
        ("free texts", "passages"),
    ],
)
def test_the_answers_tell_the_head(answered: str, head: str, tmp_path: Path) -> None:
    rows = [(f"question {n}", answer) for n, answer in enumerate(answers(answered))]
    assert load_examples(write_chats(tmp_path / "rows.jsonl", rows)).kind() == head


def test_a_decoder_is_for_new_answers_that_are_copied(tmp_path: Path) -> None:
    copied = [(f"send the {thing} {n} home", f"{thing} {n}") for n, thing in enumerate(THINGS * 3)]
    recalled = [(f"question {n}", text) for n, text in enumerate(answers("free texts"))]
    closed = [(f"the {thing} again {n}", thing) for n, thing in enumerate(THINGS * 3)]
    worth = [
        is_worth_writing(load_examples(write_chats(tmp_path / "rows.jsonl", rows)))
        for rows in (copied, recalled, closed)
    ]
    assert worth == [True, False, False]


def test_answers_that_say_the_same_share_the_target(tmp_path: Path) -> None:
    texts = [
        "Hello! You can pause your boxes for three months here.",
        "Hello! Boxes pause for up to three months at your wish.",
        "Hello! Every invoice is kept as a file in the archive.",
        "Hello! Gift cards never expire and work for all plans.",
    ]
    rows = [(f"question {n}", texts[n % 4]) for n in range(12)]
    examples = load_examples(write_chats(tmp_path / "rows.jsonl", rows))
    alike = examples.alike()
    assert alike.sum(1) == pytest.approx(np.ones(4))
    pausing = [examples.group_of[examples.answers.index(text)] for text in texts[:2]]
    assert alike[pausing[0], pausing[1]] > 0
    assert (np.delete(alike[pausing[0]], pausing) == 0).all()
    labels = [(f"question {n}", f"intent_{n % 4}") for n in range(12)]
    closed = load_examples(write_chats(tmp_path / "labels.jsonl", labels))
    assert (closed.alike() == np.eye(4)).all()
