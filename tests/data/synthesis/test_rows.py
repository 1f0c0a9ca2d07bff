"""Mining, distilling and paraphrasing given rows."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.synthesis.teaching import Teacher, reply_by_schema

from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.records import Record
from selftune.data.distill import Distillation, distill, distill_stored, logged_file
from selftune.data.mine import Mining, Models, mine
from selftune.data.paraphrase import Paraphrasing, paraphrase
from selftune.data.synthesis.run import Asking, Means
from selftune.models.endpoint import Endpoint
from selftune.models.stored import stored_completions

TEXTS = {
    "my towels are wet and there are only two": "17",
    "the shower has been cold since monday": "18",
    "who can carry my four bags upstairs": "10",
    "is there a place for my car tonight": "33",
}


def chat(text: str, answer: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "developer", "content": "Answer with the number."},
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer, "weight": 1},
        ]
    }


ROWS = tuple(chat(text, answer) for text, answer in TEXTS.items())


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(path: Path) -> list[str]:
    return [row["messages"][-2]["content"] for row in lines(path)]


def by_model(student: dict[str, str], teacher: dict[str, str]) -> Any:
    def reply(body: dict[str, Any]) -> str:
        known = {"small": student, "wise": teacher}[body["model"]]
        text = body["messages"][-1]["content"]
        return known.get(text, TEXTS[text])

    return reply


def student_at(teacher: Teacher) -> Asking:
    return Asking(endpoint=Endpoint(model="small", base_url=teacher.url), max_tokens=10)


def test_hard_rows_are_kept_and_suspicious_labels_kept_apart(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    first, second, third, _ = TEXTS
    teacher.reply = by_model({first: "20", second: "20", third: " 10. "}, {second: "37"})
    outcome = mine(tmp_path, Models(student_at(teacher), asking), Mining(rows=ROWS), means)
    assert texts(tmp_path / "train.jsonl") == [first]
    assert texts(tmp_path / "suspicious.jsonl") == [second]
    assert (outcome.tried, outcome.wrong, outcome.checked, outcome.teacher_agrees) == (4, 2, 2, 0.5)
    assert outcome.per_label["17"].wrong == 1
    assert {(c.expected, c.answered, c.times) for c in outcome.confusions} == {
        ("17", "20", 1),
        ("18", "20", 1),
    }
    [origin] = lines(tmp_path / "suspicious.provenance.jsonl")
    assert (origin["student_answer"], origin["teacher_answer"]) == ("20", "37")
    assert origin["parents"] == [{"row": 2}]
    assert "weight" not in json.dumps(teacher.requests)  # endpoints refuse it
    asked = len(teacher.requests)
    again = mine(tmp_path, Models(student_at(teacher), asking), Mining(rows=ROWS), means)
    assert len(teacher.requests) == asked
    assert again.spent == outcome.spent


def test_a_student_can_be_a_function_and_test_rows_are_left_out(
    tmp_path: Path, teacher: Teacher, means: Means
) -> None:
    test = ({"item": {"input_text": "Is there a PLACE for my car tonight?!", "label": "33"}},)
    outcome = mine(
        tmp_path,
        Models(lambda chats: ["nothing"] * len(chats)),
        Mining(rows=ROWS, test=test),
        means,
    )
    assert texts(tmp_path / "train.jsonl") == list(TEXTS)[:3]
    assert (outcome.left_out, outcome.checked, outcome.teacher_agrees) == (1, 0, None)
    assert teacher.requests == []


def test_a_student_that_refuses_is_not_wrong(
    tmp_path: Path, teacher: Teacher, means: Means
) -> None:
    teacher.reply = by_model({}, {})
    teacher.faults = ["refusal"]
    outcome = mine(tmp_path, Models(student_at(teacher)), Mining(rows=ROWS), means)
    assert (outcome.tried, outcome.wrong, outcome.unusable) == (3, 0, {"refused": 1})


def test_rows_without_answers_cannot_be_mined(tmp_path: Path, means: Means) -> None:
    rows = ({"messages": [{"role": "user", "content": "hello"}]},)
    with pytest.raises(InvalidInput, match="Row 1 has no right answer"):
        mine(tmp_path, Models(lambda chats: []), Mining(rows=rows), means)


def test_prompts_are_answered_and_the_system_message_can_be_dropped(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    wanted = Distillation(rows=ROWS, drop_system=True)
    outcome = distill(tmp_path, asking, wanted, means)
    rows = lines(tmp_path / "train.jsonl")
    assert outcome.rows == 4
    assert teacher.requests[0]["messages"][0]["role"] == "developer"
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    assert rows[0]["messages"][1]["content"].startswith("answer to ")
    assert lines(tmp_path / "provenance.jsonl")[3]["parents"] == [{"row": 4}]


def test_of_several_answers_the_commonest_is_taken_if_enough_agree(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    first, second, *_ = TEXTS
    said = {first: ["17", "20", "17."], second: ["1", "2", "3"]}
    teacher.reply = lambda body: said[body["messages"][-1]["content"]].pop(0)
    wanted = Distillation(rows=ROWS[:2], answers=3, agreement=0.5)
    one_by_one = means.model_copy(
        update={"limits": means.limits.model_copy(update={"concurrency": 1})}
    )
    outcome = distill(tmp_path, asking, wanted, one_by_one)
    assert [row["messages"][-1]["content"] for row in lines(tmp_path / "train.jsonl")] == ["17"]
    assert texts(tmp_path / "disagreed.jsonl") == [second]
    assert outcome.agreement == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert len(teacher.paid) == 6
    assert lines(tmp_path / "provenance.jsonl")[0]["agreement"] == pytest.approx(2 / 3)


def test_a_prompt_that_is_refused_is_counted(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.faults = ["refusal", "400"]
    outcome = distill(tmp_path, asking, Distillation(rows=ROWS), means)
    assert (outcome.rows, outcome.unanswered) == (2, 2)
    assert outcome.unusable == {"refused": 1, "rejected": 1}


def test_logged_completions_become_rows(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hello"}]
    choices = [{"message": {"role": "assistant", "content": "hi", "refusal": None, "audio": None}}]
    shapes = [
        {"id": "a", "model": "gpt-4.1", "messages": messages, "choices": choices},
        {"id": "b", "model": "gpt-4.1", "input": messages, "choices": choices},
        {"request": {"messages": messages}, "response": {"model": "m", "choices": choices}},
        {
            "body": {"messages": messages},
            "response": {"status_code": 200, "body": {"choices": choices}},
        },
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, shapes)), encoding="utf-8")
    outcome = distill_stored(tmp_path / "out", logged_file(log), Distillation(rows=()))
    rows = lines(tmp_path / "out" / "train.jsonl")
    assert rows == [{"messages": [*messages, {"role": "assistant", "content": "hi"}]}] * 4
    assert outcome.note is not None
    assert "'gpt-4.1'" in outcome.note
    with pytest.raises(InvalidInput, match="no stored completions"):
        distill_stored(tmp_path / "out", (), Distillation(rows=()))
    log.write_text('{"choices": []}\n', encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 1"):
        distill_stored(tmp_path / "out", logged_file(log), Distillation(rows=()))


def test_completions_that_the_endpoint_stored_become_rows(tmp_path: Path, teacher: Teacher) -> None:
    completion = teacher.completion({"model": "wise", "messages": [{"content": "hello"}]})
    teacher.stored = [
        completion
        | {"id": "chatcmpl-7", "input": [{"id": "m", "role": "user", "content": "hello"}]}
    ]
    endpoint = Endpoint(model="wise", base_url=teacher.url)
    outcome = distill_stored(
        tmp_path, stored_completions(endpoint), Distillation(rows=()), endpoint
    )
    assert outcome.rows == 1
    assert texts(tmp_path / "train.jsonl") == ["hello"]
    assert lines(tmp_path / "provenance.jsonl")[0]["stored"] == "chatcmpl-7"


def test_paraphrases_keep_answers_and_figures(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    row = chat("please wake me at 7 on friday", "22")
    said = [
        "Wake me 7 o'clock Friday, please.",
        "Please wake me at 8",
        "PLEASE wake me at 7 on friday!",
    ]
    teacher.reply = lambda body: json.dumps({"paraphrases": [*said, 5, " "]})
    outcome = paraphrase(tmp_path, asking, Paraphrasing(rows=(row,)), means)
    assert texts(tmp_path / "train.jsonl") == said[:1]
    assert outcome.dropped == {"changes a figure": 1, "the same as another row": 1}
    [made] = lines(tmp_path / "train.jsonl")
    assert made["messages"][0] == row["messages"][0]
    assert made["messages"][-1] == {"role": "assistant", "content": "22"}


def test_damage_needs_no_teacher_and_is_the_same_every_time(
    tmp_path: Path, teacher: Teacher, means: Means
) -> None:
    wanted = Paraphrasing(
        rows=ROWS, variants=0, noise=("typos", "case", "space", "punctuation"), with_originals=True
    )
    outcome = paraphrase(tmp_path / "one", None, wanted, means)
    assert paraphrase(tmp_path / "two", None, wanted, means).rows == outcome.rows
    assert outcome.by_kind == {
        "original": 4,
        "typos": 4,
        "case": 4,
        "space": 4,
        "punctuation": 4,
    }
    written = texts(tmp_path / "one" / "train.jsonl")
    assert len(set(written)) == 20
    assert written == texts(tmp_path / "two" / "train.jsonl")
    assert teacher.requests == []
    with pytest.raises(InvalidInput, match="--teacher"):
        paraphrase(tmp_path / "three", None, Paraphrasing(rows=ROWS), means)


def test_variants_of_test_rows_are_dropped(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    test = (chat("carry four bags upstairs, who can do it for me", "10"),)
    teacher.reply = lambda body: (
        json.dumps({"paraphrases": ["who can do carry four bags upstairs for me"]})
        if "four bags" in body["messages"][-1]["content"]
        else reply_by_schema(body)
    )
    wanted = Paraphrasing(rows=ROWS, test=test, variants=1)
    outcome = paraphrase(tmp_path / "near", asking, wanted, means)
    assert outcome.dropped == {"in the test set, or nearly": 1}
    assert outcome.rows == 3
    same = (chat("Who can carry my FOUR bags upstairs?", "10"),)
    outcome = paraphrase(tmp_path / "same", asking, wanted.model_copy(update={"test": same}), means)
    assert (outcome.left_out, outcome.rows) == (1, 3)


def test_no_rows_are_no_error_of_ours(tmp_path: Path, asking: Asking, means: Means) -> None:
    outcomes: list[Record] = [
        distill(tmp_path / "a", asking, Distillation(rows=()), means),
        paraphrase(tmp_path / "b", asking, Paraphrasing(rows=()), means),
        mine(tmp_path / "c", Models(asking), Mining(rows=()), means),
    ]
    assert [outcome.rows for outcome in outcomes] == [0, 0, 0]  # type: ignore[attr-defined]


def test_tools_are_told_to_the_teacher_and_stay_in_the_row(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    tools = [{"type": "function", "function": {"name": "ring", "parameters": {"type": "object"}}}]
    call = {"id": "c1", "type": "function", "function": {"name": "ring", "arguments": "{}"}}
    asked = [{"role": "user", "content": "ring the bell"}]
    row = {"messages": asked, "tools": tools}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    teacher.message = message
    distill(tmp_path, asking, Distillation(rows=(row,)), means)
    assert teacher.requests[0]["tools"] == tools
    assert lines(tmp_path / "train.jsonl") == [
        {
            "messages": [*asked, {"role": "assistant", "tool_calls": [call]}],
            "tools": tools,
        }
    ]


def test_a_verb_runs_inside_a_notebook(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    async def cell() -> int:
        return distill(tmp_path, asking, Distillation(rows=ROWS), means).rows

    assert asyncio.run(cell()) == 4


def test_equal_prompts_are_asked_once_and_each_row_gets_the_answer(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    outcome = distill(tmp_path, asking, Distillation(rows=(*ROWS, *ROWS)), means)
    assert (outcome.rows, outcome.requests, len(teacher.requests)) == (8, 4, 4)


def test_paraphrases_that_cannot_be_used_are_counted(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.faults = ["refusal", "malformed"]
    teacher.reply = lambda body: '{"paraphrases": 3}'
    outcome = paraphrase(tmp_path, asking, Paraphrasing(rows=ROWS), means)
    assert (outcome.rows, outcome.unusable) == (0, {"refused": 1, "malformed": 3})


def test_many_refusals_in_a_row_end_the_run(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    rows = tuple(chat(f"question {number}", "yes") for number in range(200))
    teacher.faults = ["400"] * 500
    with pytest.raises(InvalidInput, match="refuses every request"):
        distill(tmp_path, asking, Distillation(rows=rows), means)
    assert len(teacher.requests) < 50


def test_a_result_that_cannot_be_written_loses_no_answer(
    tmp_path: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    (tmp_path / "train.jsonl").mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        distill(tmp_path, asking, Distillation(rows=ROWS), means)
    (tmp_path / "train.jsonl").rmdir()
    assert distill(tmp_path, asking, Distillation(rows=ROWS), means).fresh_requests == 0
