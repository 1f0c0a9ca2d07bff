"""What docs/how-to/know-the-cost.md shows is run, and its figures are those of the functions."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selftune.cli.main import app

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "know-the-cost.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "prices.toml").write_text(blocks("toml")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", blocks("text"))
def test_a_command_runs(command: str) -> None:
    shown = CliRunner().invoke(app, shlex.split(command.strip())[1:])
    assert shown.exit_code == 0, shown.exception
    assert "Training" in shown.stdout


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("code", blocks("py"))
def test_a_program_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "know-the-cost.md", "exec"), {})
    assert re.match(r"\d+\.\d+ \d+", capsys.readouterr().out)


def test_each_line_of_the_checked_calculation_is_arithmetic() -> None:
    cells = [line.split("|")[3:5] for line in PAGE.splitlines() if line.count("|") == 5]
    products = [(right, how) for right, how in cells if " / 1,000,000 x " in how]
    assert len(products) == 5
    for right, how in products:
        formula = re.sub(r"[$,]|tokens|epochs", "", how).replace("x", "*")
        assert eval(formula) == pytest.approx(float(right.strip(" $")), abs=0.0013)
    assert pytest.approx(34.2, abs=0.05) == 100 * (1 - 1.06 / 1.61)
