"""Training files on the server: what is wrong with them, in OpenAI's words."""

import json
from pathlib import Path
from typing import Any

import pytest

from selftune.core.errors import JobFailed
from selftune.data.validate import check_training_file

USER = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "content": "b"}
GOOD = {"messages": [USER, ANSWER]}


def chat(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def written(tmp_path: Path, rows: list[Any]) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a"}, "expected either prompt/completion pairs or chat messages."),
        (chat(), "Invalid file format. Example 12 has no messages"),
        (
            chat(USER, {"content": "b"}),
            "Invalid file format. Example 12, message 2 Discriminator 'role' is missing in value",
        ),
        (chat(USER, {"role": "robot", "content": "b"}), "has the role 'robot'"),
        (chat(USER), "no assistant message"),
        (chat(USER, ANSWER, USER), "message 3 must be from"),
        (chat(USER, {"role": "assistant", "content": " "}), "has empty content"),
        (chat(USER, {"role": "assistant"}), "has no content"),
        (chat({**USER, "weight": 1}, ANSWER), "only assistant messages may have"),
        (chat(USER, {**ANSWER, "weight": 2}), "it must be 0 or 1"),
        (chat(USER, {**ANSWER, "weight": True}), "it must be 0 or 1"),
        ({"preferred_output": []}, "fine-tune-preference format"),
    ],
)
def test_a_wrong_row_fails_the_job_with_its_line(tmp_path: Path, row: Any, words: str) -> None:
    path = written(tmp_path, [*[GOOD] * 11, row])
    with pytest.raises(JobFailed, match="due to an invalid training file") as failed:
        check_training_file(path, max_rows=100)
    assert words in failed.value.message
    assert failed.value.code == "invalid_training_file"
    assert failed.value.param == "training_file"


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[" * 100_000, b"\x00", b'"a"', b"[{}]"])
def test_a_line_that_is_no_row_fails_the_job(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + b"\n")
    with pytest.raises(JobFailed, match="Example 2"):
        check_training_file(path, max_rows=100)


def test_a_chat_file_in_a_dpo_job_is_told_in_openais_words(tmp_path: Path) -> None:
    path = written(tmp_path, [GOOD] * 10)
    with pytest.raises(JobFailed, match=r"not using 'supervised'.*\(provided method=dpo\)"):
        check_training_file(path, max_rows=100, method="dpo")


def test_a_file_that_is_no_text_fails_the_job(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"PK\x03\x04" + b"\x00" * 100)
    with pytest.raises(JobFailed, match="The job failed due to an invalid training file"):
        check_training_file(path, max_rows=100)


@pytest.mark.parametrize("count", [0, 9])
def test_a_file_with_too_few_rows_fails_the_job(tmp_path: Path, count: int) -> None:
    path = written(tmp_path, [GOOD] * count)
    with pytest.raises(JobFailed, match=rf"has {count} example\(s\), but must have") as failed:
        check_training_file(path, max_rows=100)
    assert failed.value.code == "invalid_n_examples"


def test_a_good_file_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join([json.dumps(GOOD)] * 10) + "\n\n", encoding="utf-8")
    checked = check_training_file(path, max_rows=10)
    assert checked.examples == 10
    assert checked.tokens == 10 * (3 + 3 + 2 + 2 + 3)
    with pytest.raises(JobFailed, match="more than 9"):
        check_training_file(path, max_rows=9)
