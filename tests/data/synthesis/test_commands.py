"""`selftune data generate|mine|distill|paraphrase` as a user types them, on real data where it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher
from typer.testing import CliRunner, Result

from selftune.cli.data import app
from selftune.core.errors import InvalidInput

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the workloads' real data is not here")
Typed = Callable[..., Result]


@pytest.fixture
def typed(teacher: Teacher) -> Typed:
    def run(verb: str, *arguments: object) -> Result:
        words = [verb, *map(str, arguments), "--base-url", teacher.url]
        return CliRunner().invoke(app, words)

    return run


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "task.txt"
    path.write_text("Name the colour that is meant.", encoding="utf-8")
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(
        "text,label\nlike fresh grass,green\nlike ripe cherries,red\n", encoding="utf-8"
    )
    return path


def test_a_run_that_stops_short_leaves_with_one_and_says_what_to_do(
    typed: Typed, task: Path, tmp_path: Path
) -> None:
    words = ("--teacher", "wise", "--task", task, "--labels", "red,blue", "--count", 40)
    more = ("--max-tokens", 100, "--out", tmp_path / "out", "--concurrency", 1)
    stopped = typed("generate", *words, *more, "--budget-tokens", 600)
    assert stopped.exit_code == 1
    assert "larger budget" in stopped.stderr
    finished = typed("generate", *words, *more)
    assert finished.exit_code == 0
    assert "40 rows in" in finished.stdout
    assert "2 labels with 20 to 20 examples each" in finished.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--teacher"),
        (("--teacher", "wise", "--labels", "red"), "neither a file"),
        (("--teacher", "wise", "--labels", "red,red"), "more than once"),
        (("--teacher", "wise", "--json-mode", "xml"), "schema or object"),
        (("--teacher", "wise", "--budget-dollars", "0"), "above 0"),
        (("--teacher", "nobody", "--budget-dollars", "1"), "--input-price"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    typed: Typed, task: Path, tmp_path: Path, teacher: Teacher, words: tuple[str, ...], said: str
) -> None:
    found = typed("generate", "--task", task, "--count", 5, "--out", tmp_path / "out", *words)
    assert isinstance(found.exception, InvalidInput)
    assert said in found.exception.message
    assert teacher.requests == []


def test_fields_become_chats_by_templates(
    typed: Typed, rows: Path, tmp_path: Path, teacher: Teacher
) -> None:
    template = ("--user", "{{ text }}", "--assistant", "{{ label }}")
    teacher.reply = lambda body: "green"
    asked = ("--student", "small", "--teacher", "wise")
    mined = typed("mine", rows, *asked, *template, "--out", tmp_path / "mined", "--json")
    assert mined.exit_code == 0, mined.stderr
    report = json.loads(mined.stdout)
    assert (report["wrong"], report["rows"], report["suspicious"]) == (1, 0, 1)
    asked = ("--teacher", "wise", "--user", "{{ text }}")
    distilled = typed("distill", rows, *asked, "--out", tmp_path / "distilled")
    assert "2 rows in" in distilled.stdout
    varied = typed(
        *("paraphrase", rows, *template, "--variants", 0, "--noise", "typos,case"),
        *("--out", tmp_path / "varied"),
    )
    assert "rows by kind: 2 case, 2 typos" in varied.stdout


def test_a_closed_teacher_is_noted_once(typed: Typed, rows: Path, tmp_path: Path) -> None:
    words = ("--user", "{{ text }}", "--out")
    closed = typed("distill", rows, "--teacher", "gpt-4.1", *words, tmp_path / "closed")
    assert closed.stderr.count("terms") == 1
    opened = typed("distill", rows, "--teacher", "gpt-oss-20b", *words, tmp_path / "open")
    assert "terms" not in opened.stderr


def test_stored_completions_need_no_teacher(
    typed: Typed, rows: Path, tmp_path: Path, teacher: Teacher
) -> None:
    tools = [{"type": "function", "function": {"name": "ring", "parameters": {}}}]
    asked = [{"role": "user", "content": "hello"}]
    request = {"messages": asked, "tools": tools}
    answer = {"role": "assistant", "content": "hi"}
    response = {"model": "gpt-4.1", "choices": [{"message": answer}]}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"request": request, "response": response}), encoding="utf-8")
    found = typed("distill", "--stored", log, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert found.stderr.count("terms") == 1
    written = json.loads((tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8"))
    assert written == {"messages": [*asked, answer], "tools": tools}
    empty = typed("distill", "--from-store", "--teacher", "wise", "--out", tmp_path / "none")
    assert isinstance(empty.exception, InvalidInput)
    assert typed("distill", "--out", tmp_path / "none").exception is not None
    typed("distill", rows, "--user", "{{ text }}", "--teacher", "wise", "--out", tmp_path / "run")
    taken = typed("distill", "--stored", log, "--out", tmp_path / "run")
    assert "another --out" in str(taken.exception)
    assert len(teacher.requests) == 2


@real
def test_real_seeds_give_balanced_rows_with_their_system_message(
    typed: Typed, tmp_path: Path, task: Path, teacher: Teacher
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{n}\n" for n in range(1, 41)), encoding="utf-8")
    found = typed(
        *("generate", "--teacher", "wise", "--task", task, "--labels", labels, "--count", 100),
        *("--seeds", DATA / "hospitality" / "train.jsonl", "--out", tmp_path / "out"),
        *("--test", DATA / "hospitality" / "test.jsonl"),
    )
    assert found.exit_code == 0, found.stderr
    assert "40 labels with 2 to 3 examples each" in found.stdout
    first = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    assert first["messages"][0]["role"] == "developer"
    test = (DATA / "hospitality" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["item"]["input_text"] for line in test]
    prompts = " ".join(body["messages"][0]["content"] for body in teacher.requests)
    assert not any(json.dumps(text, ensure_ascii=False)[1:-1] in prompts for text in texts)


@real
def test_real_rows_of_fields_are_answered(typed: Typed, tmp_path: Path) -> None:
    found = typed(
        *("distill", DATA / "banking77" / "test.csv", "--teacher", "wise", "--out", tmp_path),
        *("--user", "{{ text }}", "--system", "Name the intent.", "--limit", 50),
    )
    assert found.exit_code == 0, found.stderr
    assert "50 rows in" in found.stdout
