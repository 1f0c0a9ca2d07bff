"""Every command of `docs/how-to/open-models.md` is a command, and those that need no job are run."""

import json
import re
import shlex
from pathlib import Path

import pytest
from tests.models.test_catalog import folder_of_a_model
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import NotFound
from selftune.models.catalog import catalog

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "open-models.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
    if line.startswith("selftune ")
]
NEEDS_A_MODEL = ("chat", "export", "check")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = folder_of_a_model(tmp_path / "my-base")
    words = {"type": "WordLevel", "vocab": {"[U]": 0}, "unk_token": "[U]"}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": words}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    chat = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": chat}) + "\n", encoding="utf-8")
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_its_commands_add_a_base_name_it_and_advise(home: Path) -> None:
    file_id = ""
    for command in COMMANDS:
        if any(word in NEEDS_A_MODEL for word in command[:2]):
            assert run(*command[:2], "--help").exit_code == 0
            continue
        done = run(*[file_id if word == "FILE" else word for word in command])
        assert done.exit_code == 0, (command, done.output, done.exception)
        if command[0] == "files":
            file_id = done.output.strip()
    assert catalog(home).trainable("gpt-4o-mini").id == "my-base"
    assert "stands for my-base" in run("models", "list").output
    [job] = json.loads(run("jobs", "list", "--json").stdout)
    assert (job["spec"]["base"], job["spec"]["engine"]) == ("my-base", "hf")


def test_its_catalogue_is_one(home: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    home.mkdir()
    (home / "catalog.toml").write_text(text, encoding="utf-8")
    found = catalog(home).find("gpt-4o-mini")
    assert found is not None
    assert (found.id, found.context) == ("my-base", 1024)


def test_only_trained_open_models_are_exported(home: Path) -> None:
    done = run("models", "export", "ft:none:x:y:z", "--to", str(home / "out"))
    assert isinstance(done.exception, NotFound)
    assert not (home / "out").exists()
