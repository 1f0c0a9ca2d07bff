"""Training files: what is wrong with them, in OpenAI's words."""

import json
from pathlib import Path
from typing import Any

import pytest

from selftune.core.errors import JobFailed
from selftune.data.validate import check_training_file, problems

GOOD = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


def chat(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


USER = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a"}, "expected either prompt/completion pairs or chat messages"),
        (chat(), "has no messages"),
        (chat(USER, {"content": "b"}), "message 2 Discriminator 'role' is missing in value"),
        (chat(USER, {"role": "robot", "content": "b"}), "has the role 'robot'"),
        (chat(USER), "no assistant message"),
        (chat(USER, {"role": "assistant", "content": "b"}, USER), "message 3 must be from"),
        (chat(USER, {"role": "assistant", "content": " "}), "has empty content"),
        (chat(USER, {"role": "assistant"}), "has no content"),
        (chat({**USER, "weight": 1}, GOOD["messages"][1]), "only assistant messages may have"),
        (chat(USER, {**GOOD["messages"][1], "weight": 2}), "it must be 0 or 1"),
        (chat(USER, {**GOOD["messages"][1], "weight": True}), "it must be 0 or 1"),
        ({"preferred_output": []}, "fine-tune-preference format"),
    ],
)
def test_a_wrong_row_fails_the_job_with_its_line(tmp_path: Path, row: Any, words: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in [*[GOOD] * 11, row]), encoding="utf-8")
    with pytest.raises(JobFailed, match="due to an invalid training file") as failed:
        check_training_file(path, max_rows=100)
    assert words in failed.value.message
    assert failed.value.code == "invalid_training_file"
    assert [problem.line for problem in problems(path)] == [12]


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[" * 100_000, b"\x00"])
def test_a_line_that_is_no_json_is_told_and_crashes_nothing(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(line + b"\n")
    assert [problem.line for problem in problems(path)] == [1]


def test_a_good_file_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join([json.dumps(GOOD)] * 10) + "\n\n", encoding="utf-8")
    checked = check_training_file(path, max_rows=10)
    assert checked.examples == 10
    assert checked.tokens == 10 * (3 + 3 + 2 + 2 + 3)
    with pytest.raises(JobFailed, match="more than 9"):
        check_training_file(path, max_rows=9)
