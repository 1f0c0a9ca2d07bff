"""`selftune eval import` as a user types it, and what the other commands do with it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.interchange.test_openai_evals import saved
from typer.testing import CliRunner

from selftune.cli.main import app


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))


def typed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["eval", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def imported(*arguments: str) -> Any:
    return json.loads(typed("import", *arguments, "--json"))


def test_an_import_says_what_it_wrote_and_what_comes_next(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    said = typed("import", str(folder))
    assert f"eval       {folder / 'ticket-labels.toml'}" in said
    assert f"selftune eval run {folder / 'ticket-labels.toml'}" in said
    assert "selftune eval compare openai-" in said


def test_imported_rounds_are_compared_like_any_others(tmp_path: Path) -> None:
    found = imported(str(saved(tmp_path / "saved")), "-o", str(tmp_path / "out"))
    first, second = (Path(path).name for path in found["rounds"])
    said = typed("compare", first, second, "--json")
    report = json.loads(said)
    assert "gpt-4o-mini" in json.dumps(report)
    assert "ft:x" in json.dumps(report)


def test_imported_rounds_are_in_the_history(tmp_path: Path) -> None:
    imported(str(saved(tmp_path / "saved")), "-o", str(tmp_path / "out"), "--name", "Mine")
    found = json.loads(typed("history", "Mine", "--json"))
    assert [len(rounds) for rounds in found.values()] == [2]


def test_an_imported_file_can_be_edited_and_kept(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    (path,) = imported(str(folder))["evals"]
    Path(path).write_text("# mine\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["eval", "import", str(folder)])
    assert result.exit_code != 0
    assert Path(path).read_text(encoding="utf-8") == "# mine\n"
    imported(str(folder), "--force")
    assert "Ticket labels" in Path(path).read_text(encoding="utf-8")


def test_a_second_import_of_a_folder_does_not_read_its_own_files(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    assert imported(str(folder)) == imported(str(folder))
