"""`selftune data split` and `selftune data dedupe` as a user types them."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from selftune.core.settings import child_environment, load_settings


def selftune(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selftune", *arguments],
        env=child_environment(load_settings(home=folder / "home")),
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"how do I do thing{n} with part{n},answer{n % 4}" for n in range(80)]
    lines = ["question,label", *rows, "Tell me [bold]one[/] thing,answer1"]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    test = '{"item": {"question": "tell me [bold]one[/] thing!", "label": "answer2"}}\n'
    (tmp_path / "test.jsonl").write_text(test, encoding="utf-8")
    return tmp_path


ROOT = Path(__file__).parents[3]
TEMPLATE = ("--user", "{{ item.question }}", "--assistant", "{{ item.label }}")


def test_one_command_makes_the_files_and_shows_counts_and_leaks(folder: Path) -> None:
    done = selftune(
        folder, "data", "split", "train.csv", "--out", "parts", "--test-file", "test.jsonl",
        "--sizes", "8,16", *TEMPLATE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "parts/train-16.jsonl" in done.stdout
    assert "answer3" in done.stdout
    assert "1 of 81 rows ask what 1 of 1 test rows ask: 1 normalised" in done.stdout
    assert "line 82: Tell me [bold]one[/] thing" in done.stdout
    assert "answer: another" in done.stdout
    assert "advice: 1 test rows show only large differences" in done.stdout
    assert len((folder / "parts" / "train-8.jsonl").read_text("utf-8").splitlines()) == 8


def test_programs_read_json_and_the_source_can_come_through_a_pipe(folder: Path) -> None:
    rows = "".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"q{n} r{n}"},
                    {"role": "assistant", "content": "a"},
                ]
            }
        )
        + "\n"
        for n in range(20)
    )
    done = selftune(folder, "data", "split", "-", "--out", "parts", "--json", given=rows)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {name: file["rows"] for name, file in report["files"].items()} == {
        "train.jsonl": 14,
        "validation.jsonl": 2,
        "test.jsonl": 4,
    }
    assert report["options"]["split"]["seed"] == 42


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("train.csv", "--out", "parts"),
            "line 2: The row has no messages, but the fields question",
        ),
        (("train.csv", "--out", "home.txt", *TEMPLATE, "--sizes", "10,many"), "--sizes has 'many'"),
        (("train.csv", "--out", "parts", *TEMPLATE, "--group-by", "user"), "no field 'user'"),
        (("train.csv", "--out", "parts", *TEMPLATE, "--near", "0.2"), "must be from 0.5 to 1"),
    ],
)
def test_a_wrong_split_is_one_line_and_writes_nothing(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = selftune(folder, "data", "split", *arguments)
    assert done.returncode == 2
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (folder / "parts").exists()


def test_repeats_are_left_out_of_standard_output_and_told_beside_it(folder: Path) -> None:
    source = "question,label\nWho are you,a\nwho are you?,a\nWho are you,b\n"
    (folder / "few.csv").write_text(source, encoding="utf-8")
    done = selftune(folder, "data", "dedupe", "few.csv", "-o", "-", *TEMPLATE)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["messages"][1]["content"] for line in done.stdout.splitlines()] == [
        "a",
        "b",
    ]
    assert "2 of 3 rows stay: 1 normalised." in done.stderr
    assert "1 questions have different answers" in done.stderr
    voted = selftune(
        folder, "data", "dedupe", "few.csv", "--json", "--contradictions", "majority", *TEMPLATE
    )
    found = json.loads(voted.stdout)
    assert found["kept"] == [0]
    assert [drop["reason"] for drop in found["dropped"]] == ["normalised", "contradiction"]


def test_a_file_is_written_where_asked(folder: Path) -> None:
    done = selftune(folder, "data", "dedupe", "train.csv", "--out", "clean.jsonl.gz", *TEMPLATE)
    assert "81 of 81 rows stay" in done.stdout
    assert (folder / "clean.jsonl.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_the_page_about_test_sets_runs_as_it_is_written(tmp_path: Path) -> None:
    intents = [f"how do I do thing{n} with part{n},intent{n % 4}" for n in range(80)]
    (tmp_path / "messages.csv").write_text("text,intent\n" + "\n".join(intents), encoding="utf-8")
    asked = [f"question{n} about thing{n}" for n in range(38)]
    asked[2:2] = [
        "Can I bring a dog on board?",
        "When does the last ferry to the small island leave today",
    ]
    chats = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "yes"}]}
        for q in asked
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    tests = [asked[2], "When does the first ferry to the small island leave today?", "Else?"]
    items = [{"item": {"question": question, "answer": "yes"}} for question in tests]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
    page = (ROOT / "docs" / "how-to" / "honest-test-set.md").read_text(encoding="utf-8")
    commands = [
        shlex.split(line)
        for block in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(commands) == 5
    printed = ""
    for command in commands:
        done = selftune(tmp_path, *command[1:])
        assert done.returncode == 0, done.stderr
        printed += done.stdout
    shown = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown[0] in printed
    assert len((tmp_path / "curve" / "train-40.jsonl").read_text("utf-8").splitlines()) == 40
