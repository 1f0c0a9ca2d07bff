"""What a test set shares with the rows that are trained on."""

from pathlib import Path
from typing import Any

import pytest

from selftune.data.leakage import leakage
from selftune.data.likeness.overlap import shared_questions
from selftune.data.likeness.questions import questions
from selftune.data.read import ReadOptions, read_rows

SHARED = Path(__file__).parents[3] / "shared" / "data"


def chat(question: str, answer: str, system: str | None = None) -> dict[str, Any]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return {
        "messages": [
            *first,
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def item(question: str, answer: str) -> dict[str, Any]:
    return {"item": {"input_text": question, "correct_label": answer}}


def test_a_pair_says_where_how_and_whether_the_answers_agree() -> None:
    training = [
        chat("Where is the lost property office of the station?", "12"),
        chat("Can I bring a dog on board?", "3"),
        chat("when does the LAST ferry to the island leave", "7"),
        chat("Where can I buy a ticket for the night train to the coast?", "9"),
    ]
    tests = [
        item("Can I bring a dog on board?", "3"),
        item("When does the last ferry to the island leave?", "8"),
        item("Where can I buy a ticket for the night bus to the coast?", "9"),
        item("Is breakfast served?", "1"),
    ]
    found = leakage(training, tests)
    told = [
        (leak.kind, leak.training_line, leak.other_line, leak.answers_agree) for leak in found.leaks
    ]
    assert told == [("exact", 2, 1, True), ("normalised", 3, 2, False), ("near", 4, 3, True)]
    assert found.leaks[2].similarity == pytest.approx(11 / 13)
    assert found.leaks[1].training_text == "when does the LAST ferry to the island leave"
    assert found.training_lines == frozenset({2, 3, 4})
    assert found.other_lines == frozenset({1, 2, 3})


def test_every_row_of_equal_ones_is_named_in_few_pairs() -> None:
    training = [chat("Do you deliver on Sundays?", "yes")] * 30
    tests = [item("do you deliver on sundays", "yes")] * 20 + [item("Else?", "no")]
    found = leakage(training, tests)
    assert found.training_lines == set(range(1, 31))
    assert found.other_lines == set(range(1, 21))
    assert len(found.leaks) == 49
    assert found.repeats == (tuple(range(1, 21)),)


def test_system_prompts_and_the_words_of_a_template_do_not_count() -> None:
    questions_asked = [f"Does article number {n} come in colour {n * 7}?" for n in range(12)]
    training = [
        chat(f"Answer with yes or no, and nothing else.\n\n{each}", "yes", system="Be brief.")
        for each in questions_asked
    ]
    found = leakage(training, [item(questions_asked[5], "yes")])
    assert [(leak.kind, leak.training_line) for leak in found.leaks] == [("exact", 6)]
    assert questions(training) == questions_asked


def test_lines_are_those_of_the_files() -> None:
    found = leakage([chat("Who?", "a")], [item("who", "a")], lines=([17], [4]))
    assert (found.leaks[0].training_line, found.leaks[0].other_line) == (17, 4)


@pytest.mark.parametrize(
    ("answer", "expected", "agree"),
    [
        ("Up to 15%, says the policy.", "15%", True),
        ("Yes.", "no", False),
        ("", "no", None),
        ("Only after a director has agreed to it.", "A director decides, no one else can.", None),
    ],
)
def test_answers_agree_disagree_or_cannot_be_compared(
    answer: str, expected: str, agree: bool | None
) -> None:
    found = leakage([chat("May I?", answer)], [item("may I", expected)])
    assert found.leaks[0].answers_agree is agree


def test_pictures_are_told_apart_though_they_have_no_words() -> None:
    def picture(url: str) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"messages": [{"role": "user", "content": [part]}]}

    training = [picture("https://example.org/a.png"), picture("https://example.org/b.png")]
    found = leakage(training, [picture("https://example.org/b.png")])
    assert [leak.training_line for leak in found.leaks if leak.kind == "exact"] == [2]


def test_what_is_shown_moves_no_cursor() -> None:
    found = leakage([chat("a \x1b[2J\r\nb", "x")], [item("a \x1b[2J\r\nb", "x")])
    assert "\x1b" not in found.leaks[0].training_text
    assert "\n" not in found.leaks[0].training_text


def test_nothing_leaks_out_of_nothing() -> None:
    assert leakage([], []).leaks == ()
    assert leakage([chat("a", "b")], []).leaks == ()


def test_two_files_share_questions_whatever_their_case(tmp_path: Path) -> None:
    training, validation = tmp_path / "training.jsonl", tmp_path / "validation.jsonl"
    line = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}\n'
    training.write_text(line % ("Who is it?", "a") + line % ("Where?", "b"), encoding="utf-8")
    validation.write_text(line % ("who is it", "c") * 2 + line % ("When?", "b"), encoding="utf-8")
    assert shared_questions(training, validation) == 2


@pytest.mark.skipif(not SHARED.exists(), reason="the real data of the workloads is not here")
@pytest.mark.parametrize(
    ("name", "kinds"), [("policy", ["exact"]), ("hospitality", [])], ids=("policy", "hospitality")
)
def test_the_overlaps_of_real_test_sets_are_found(name: str, kinds: list[str]) -> None:
    training = read_rows(SHARED / name / "train.jsonl")
    tests = read_rows(SHARED / name / "test.jsonl", ReadOptions())
    assert [leak.kind for leak in leakage(training, tests).leaks] == kinds
