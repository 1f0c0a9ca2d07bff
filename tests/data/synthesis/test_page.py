"""Every command and program of `docs/how-to/make-more-data.md` is run as it stands."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher, reply_by_schema
from typer.testing import CliRunner

from selftune.cli.data import app

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "make-more-data.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> Path:
    chats = [
        {
            "messages": [
                {"role": "system", "content": "Name the intention."},
                {"role": "user", "content": f"could {name} have two more towels"},
                {"role": "assistant", "content": "towels"},
            ]
        }
        for name in ("anna", "ben", "carla", "dan")
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    item = {"item": {"input_text": "where may the bus stop", "correct_label": "parking"}}
    (tmp_path / "test.jsonl").write_text(json.dumps(item), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", teacher.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    teacher.reply = lambda body: (
        reply_by_schema(body) if "response_format" in body else answer(body["model"])
    )
    return tmp_path


def answer(model: str) -> str:
    return "parking" if "nano" in model else "towels"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return [found[1] for found in BLOCK.findall(text) if found[0] == language]


def test_every_command_of_the_page_runs(folder: Path) -> None:
    for line in "".join(blocks("sh")).splitlines():
        if line.startswith("selftune data "):
            found = CliRunner().invoke(app, shlex.split(line)[2:])
            assert found.exit_code == 0, f"{line}\n{found.output}\n{found.exception}"
        else:
            subprocess.run(["sh", "-c", line], check=True)
    rows = {
        path.parent.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in folder.glob("*/train.jsonl")
    }
    assert rows == {"generated": 60, "hard": 4, "distilled": 4, "varied": 16, "robust": 20}


def test_every_program_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for program in blocks("py"):
        exec(compile(program, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.startswith("20 ")
