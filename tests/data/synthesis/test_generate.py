"""Examples that a teacher writes: balanced, new, kept apart from the test set, and paid for once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.data.synthesis.teaching import Teacher, reply_by_schema

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.data.generate import Generation, generate
from selftune.data.rows import prompt_text
from selftune.data.synthesis.budget import Budget
from selftune.data.synthesis.labels import Label, labels_of
from selftune.data.synthesis.run import Asking, Means

LABELS = tuple(Label(name=name, description=f"about {name}") for name in ("red", "green", "blue"))
TEST_TEXT = "may i please have a seat by the window tonight"


def chat(text: str, label: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "Name the colour."},
            {"role": "user", "content": text},
            {"role": "assistant", "content": label},
        ]
    }


def wish(**rest: Any) -> Generation:
    return Generation(task="Name the colour that is meant.", count=30, labels=LABELS, **rest)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_labels_come_out_balanced_and_every_row_has_its_origin(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    seeds = (chat("like the sky in june", "blue"), chat("like fresh grass", "green"))
    outcome = generate(tmp_path, asking, wish(seeds=seeds), means)
    rows, origins = lines(tmp_path / "train.jsonl"), lines(tmp_path / "provenance.jsonl")
    assert outcome.stopped is None
    assert outcome.per_label == {"red": 10, "green": 10, "blue": 10}
    assert Counter(row["messages"][-1]["content"] for row in rows) == outcome.per_label
    assert all(row["messages"][0] == seeds[0]["messages"][0] for row in rows)
    for number, (row, origin) in enumerate(zip(rows, origins, strict=True), start=1):
        assert (origin["row"], origin["sha256"]) == (number, fingerprint(row))
        assert origin["label"] == row["messages"][-1]["content"]
        assert (origin["teacher"], origin["answered_by"]) == ("wise", "wise-2026-01-01")
        assert origin["request"] in teacher.keys
        assert origin["parents"] == [{"seed_row": 1}, {"seed_row": 2}]
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["rows"] == 30
    body = teacher.requests[0]
    assert body["response_format"]["json_schema"]["strict"] is True
    assert "like the sky in june" in body["messages"][0]["content"]


def test_the_same_seed_and_answers_give_the_same_bytes(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    for name in ("one", "two"):
        generate(tmp_path / name, asking, wish(), means)
    for name in ("train.jsonl", "provenance.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_finished_run_asks_nothing_again(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    first = generate(tmp_path, asking, wish(), means)
    asked = len(teacher.requests)
    again = generate(tmp_path, asking, wish(), means)
    assert len(teacher.requests) == asked
    assert again.fresh_requests == 0
    assert again.spent == first.spent
    assert again.rows == 30


def test_test_rows_reach_neither_prompts_nor_results(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    near = TEST_TEXT.replace("tonight", "today")
    seeds = (chat(near.upper(), "red"), chat("like fresh grass", "green"))

    def leaking(body: dict[str, Any]) -> str:
        found = json.loads(reply_by_schema(body))
        found["examples"][0]["text"] = TEST_TEXT
        found["examples"][1]["text"] = near.title() + "!"
        return json.dumps(found)

    teacher.reply = leaking
    item = {"item": {"input_text": TEST_TEXT, "correct_label": "red"}}
    outcome = generate(tmp_path, asking, wish(seeds=seeds, test=(item,)), means)
    assert outcome.seeds_left_out == 1
    assert outcome.dropped["already there, or nearly"] >= 2
    everything = (tmp_path / "train.jsonl").read_text(encoding="utf-8").lower()
    everything += "".join(json.dumps(body).lower() for body in teacher.requests)
    assert "seat by the window" not in everything


def test_a_teacher_that_repeats_itself_is_stopped(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    same = {"examples": [{"text": "the same colour as ever", "label": "red"}]}
    teacher.reply = lambda body: json.dumps(same)
    outcome = generate(tmp_path, asking, wish(), means)
    assert outcome.rows == 1
    assert outcome.stopped is not None
    assert "little new to say" in outcome.stopped


def test_what_has_the_wrong_shape_is_counted_and_not_kept(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    broken: list[Any] = [
        '{"examples": 3}',
        "[]",
        '{"examples": [{"text": "", "label": "red"}, {"text": "a"}, 7, null]}',
        '{"examples": [{"text": "somewhere over", "label": "violet"}]}',
        None,
    ]
    teacher.reply = lambda body: (broken and broken.pop()) or reply_by_schema(body)
    teacher.faults = ["", "refusal", "malformed", "too long"]
    one_by_one = means.model_copy(
        update={"limits": means.limits.model_copy(update={"concurrency": 1})}
    )
    outcome = generate(tmp_path, asking, wish(), one_by_one)
    assert outcome.rows == 30
    assert outcome.unusable.keys() >= {"refused", "malformed", "cut"}
    assert outcome.dropped["a label that is not in the list"] == 1
    assert outcome.dropped["empty or without its fields"] == 4


def test_a_teacher_of_whose_answers_none_is_of_use_is_not_paid_for_long(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.faults = ["too long"] * 100
    wanted = wish().model_copy(update={"count": 1000})
    outcome = generate(tmp_path, asking, wanted, means)
    assert outcome.stopped is not None
    assert "--max-tokens" in outcome.stopped
    assert len(teacher.requests) <= 8


def test_thinking_aloud_and_fences_are_no_harm(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.reply = lambda body: f"<think>so?</think>\n```json\n{reply_by_schema(body)}\n```"
    assert generate(tmp_path, asking, wish(), means).unusable == {}


def test_labels_can_be_the_answers_of_the_seeds() -> None:
    rows = [chat(f"message {number}", ("red", "blue")[number % 2]) for number in range(8)]
    assert [label.name for label in labels_of(rows)] == ["red", "blue"]
    with pytest.raises(InvalidInput, match="no closed set"):
        labels_of([chat("a", "one"), chat("b", "two"), chat("c", "three")])


def test_an_endpoint_without_schemas_is_told_apart(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.faults = ["400"] * 20
    with pytest.raises(InvalidInput, match="--json-mode object"):
        generate(tmp_path / "schema", asking, wish(), means)
    teacher.faults = []
    plain = asking.model_copy(update={"json_mode": "object"})
    outcome = generate(tmp_path / "object", plain, wish(), means)
    assert outcome.rows == 30
    assert teacher.requests[-1]["response_format"] == {"type": "json_object"}


def test_free_answers_need_no_labels(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    outcome = generate(tmp_path, asking, Generation(task="Answer anything.", count=25), means)
    rows = lines(tmp_path / "train.jsonl")
    assert outcome.rows == len(rows) == len({prompt_text(row) for row in rows}) == 25
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    assert outcome.diversity.texts == 25
    assert outcome.diversity.self_similarity is not None


def test_a_budget_of_tokens_stops_before_it_is_exceeded(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.tokens = {"prompt_tokens": 300, "completion_tokens": 100}
    small = means.model_copy(update={"budget": Budget(tokens=1_500)})
    wanted = wish(per_request=3)
    stopped = generate(tmp_path, asking, wanted, small)
    assert stopped.stopped is not None
    assert "larger budget" in stopped.stopped
    spent = stopped.spent
    assert 0 < spent.prompt_tokens + spent.completion_tokens <= 1_500
    assert stopped.rows == len(lines(tmp_path / "train.jsonl")) > 0
    paid = dict(teacher.paid)
    finished = generate(tmp_path, asking, wanted, means)  # and more money
    assert (finished.stopped, finished.rows) == (None, 30)
    assert finished.requests - finished.fresh_requests == len(paid)
    assert set(teacher.paid.values()) == {1}


def test_a_budget_of_dollars_stops_too(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    budget = Budget(dollars=0.001, input_price=1.0, output_price=2.0)
    outcome = generate(
        tmp_path, asking, wish(per_request=2), means.model_copy(update={"budget": budget})
    )
    assert outcome.stopped is not None
    assert "$" in outcome.stopped
    assert outcome.spent.dollars is not None
    assert 0 < outcome.spent.dollars <= 0.001


def test_a_question_without_an_answer_stops_the_run_and_is_asked_again(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    impatient = means.model_copy(
        update={"limits": means.limits.model_copy(update={"attempts": 1, "concurrency": 1})}
    )
    teacher.faults = ["", "500"]
    stopped = generate(tmp_path, asking, wish(), impatient)
    assert stopped.stopped is not None
    assert "no answer" in stopped.stopped
    asked = len(teacher.requests)
    finished = generate(tmp_path, asking, wish(), impatient)
    assert finished.rows == 30
    assert finished.fresh_requests == len(teacher.requests) - asked
    assert set(teacher.paid.values()) == {1}
