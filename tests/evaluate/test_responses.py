"""The log of answers: what a kill, a full disk, a stranger's edit or a second process do to it."""

import os
from pathlib import Path

import pytest

from selftune.core.errors import Conflict, Unavailable
from selftune.evaluate.responses import Responses
from selftune.models.answers import Answer, question


def answer(number: int, text: str = "yes", status: str = "answered") -> Answer:
    key = question({"n": number}).key
    return Answer.model_validate({"key": key, "status": status, "text": text})


def kept(path: Path) -> Responses:
    responses = Responses(path)
    for number in range(5):
        responses.add(answer(number, f"äöü {number} \u2028 \U0001f600"))
    responses.close()
    return Responses(path)


def test_answers_are_there_again(tmp_path: Path) -> None:
    responses = kept(tmp_path / "log")
    for number in range(5):
        found = responses.get(answer(number).key)
        assert found is not None
        assert found.text == f"äöü {number} \u2028 \U0001f600"
    assert responses.get(answer(9).key) is None
    responses.close()


@pytest.mark.parametrize("cut", [1, 7, 40, 100])
def test_a_line_that_was_cut_is_asked_again_and_those_after_it_are_read(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "log"
    kept(path).close()
    path.write_bytes(path.read_bytes()[:-cut])
    responses = Responses(path)
    assert responses.get(answer(4).key) is None
    assert responses.get(answer(3).key) is not None
    responses.add(answer(4, "new"))
    responses.add(answer(7))
    responses.close()
    again = Responses(path)
    found = again.get(answer(4).key)
    assert found is not None
    assert found.text == "new"
    assert again.get(answer(7).key) is not None
    again.close()


def test_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    kept(path).close()
    damaged = path.read_bytes().replace(b'"status":"answered"', b'"status":"danced"', 1)
    path.write_bytes(b'hello\n{"key":"zz"}\n\n\x00\xff\n' + damaged)
    responses = Responses(path)
    assert responses.get(answer(0).key) is None
    assert all(responses.get(answer(number).key) for number in range(1, 5))
    responses.close()


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_what_is_no_answer_is_not_kept(tmp_path: Path, status: str) -> None:
    responses = Responses(tmp_path / "log")
    responses.add(answer(1, status=status))
    assert responses.get(answer(1).key) is None
    responses.close()


def test_two_processes_cannot_have_one_log(tmp_path: Path) -> None:
    responses = Responses(tmp_path / "log")
    with pytest.raises(Conflict, match="Another process"):
        Responses(tmp_path / "log")
    responses.close()
    Responses(tmp_path / "log").close()


def test_a_full_disk_is_said_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    responses = kept(path)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr("selftune.evaluate.responses.os.write", lambda f, b: write(f, b[:30]))
        with pytest.raises(Unavailable, match="Free space"):
            responses.add(answer(5))
    responses.close()
    again = Responses(path)
    again.add(answer(5))
    assert all(again.get(answer(number).key) for number in range(6))
    again.close()
