"""The page `run-an-eval.md`: its file is an eval that runs, its commands are commands."""

import json
import re
import shlex
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.models.endpoints import load_endpoints

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "run-an-eval.md").read_text("utf-8")
TOML = [
    re.sub(r"^ {3}", "", found, flags=re.M)
    for found in re.findall(r"```toml\n(.*?)```", PAGE, re.S)
]
COMMANDS = re.search(r"```text\n(.*?)```", PAGE, re.S)


@pytest.fixture
def folder(tmp_path: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> Path:
    teacher.reply = lambda body: "It is Bern, I think."
    text = TOML[0].replace("http://127.0.0.1:9000/v1", teacher.url)
    (tmp_path / "support.toml").write_text(text, encoding="utf-8")
    rows = [
        {"question": f"Where is it? {n}", "answer": "bern" if n % 4 else "lyon", "topic": "t"}
        for n in range(60)
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "questions.jsonl").write_text(lines, encoding="utf-8")
    chat = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": chat}) + "\n", encoding="utf-8")
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_file_runs_and_its_commands_do(folder: Path) -> None:
    assert COMMANDS is not None
    commands = [shlex.split(line)[1:] for line in COMMANDS[1].splitlines()]
    assert len(commands) == 3
    for command in commands:
        if "--model" in command:  # a job of the reader's own made that one
            command[command.index("--model") + 1] = "selftune/fake"
        done = CliRunner().invoke(app, [*command, "--json"])
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        passed = {arm["summary"]["name"]: arm["summary"]["accuracy"] for arm in report["arms"]}
        assert passed["small"]["value"] == pytest.approx(0.75, abs=0.02)


def test_its_endpoints_are_read(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text(TOML[1], encoding="utf-8")
    found = load_endpoints(tmp_path).find("gpt-4.1-mini")
    assert found is not None
    assert found.base_url == "https://api.openai.com/v1"
    assert load_endpoints(tmp_path).find("gpt-4o") is None
