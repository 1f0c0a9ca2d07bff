"""`selftune data estimate` and `selftune data describe` as a user types them."""

import json
from pathlib import Path

import pytest
from tests.data.test_estimate import rows
from typer.testing import CliRunner, Result

from selftune.cli.data.estimate import money
from selftune.cli.main import app
from selftune.core.errors import InvalidInput


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return path


def ask(*arguments: object, **more: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)], **more)  # type: ignore[arg-type]


def test_an_estimate_is_a_table_for_people(file: Path) -> None:
    shown = ask(
        "estimate", file, "--model", "gpt-4o-mini", "--model", "gpt-9", "--compare", "gpt-4.1"
    )
    assert shown.exit_code == 0
    for said in ("gpt-4o-mini", "unknown", "itself, untuned", "November 2025", "auto: 3 epochs"):
        assert said in shown.stdout


def test_an_estimate_is_json_for_programs(file: Path) -> None:
    shown = ask("estimate", file, "--requests-per-day", 50, "--epochs", 2, "--json")
    found = json.loads(shown.stdout)
    assert found["examples"] == 40
    assert all(one["epochs"]["value"] == 2 for one in found["trainings"])
    assert all(one["year"] is not None for one in found["requests"] if one["one"] is not None)


def test_own_prices_come_from_the_setting_and_the_option_wins(file: Path, tmp_path: Path) -> None:
    def write(name: str, dollars: float) -> str:
        path = tmp_path / name
        text = f'[[price]]\nid = "gpt-9"\nas_of = "2026"\ntraining = {dollars}\n'
        path.write_text(text, encoding="utf-8")
        return str(path)

    environment = {"SELFTUNE_PRICES": write("set.toml", 1.0)}
    arguments = ("estimate", file, "--model", "gpt-9", "--json")
    by_setting = json.loads(ask(*arguments, env=environment).stdout)
    other = ("--prices", write("given.toml", 2.0))
    by_option = json.loads(ask(*arguments, *other, env=environment).stdout)
    first, second = (one["trainings"][0]["dollars"] for one in (by_setting, by_option))
    assert second == pytest.approx(2 * first)


@pytest.mark.parametrize("epochs", ["0", "51", "many", "1.5"])
def test_epochs_that_cannot_be_are_refused(file: Path, epochs: str) -> None:
    assert isinstance(ask("estimate", file, "--epochs", epochs).exception, InvalidInput)


def test_a_description_shows_lengths_answers_and_a_marked_example(file: Path) -> None:
    shown = ask("describe", file)
    assert shown.exit_code == 0
    for said in ("40 rows", "a closed set", "⟦delivery⟧", "what is learned"):
        assert said in shown.stdout


def test_a_description_is_a_page_and_json(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    shown = ask("describe", file, "--html", page, "--json")
    assert json.loads(shown.stdout)["rows"] == 40
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_named(file: Path, tmp_path: Path) -> None:
    shown = ask("describe", file, "--html", tmp_path / "nowhere" / "page.html")
    assert shown.exit_code != 0
    assert "cannot be written" in str(shown.exception)


def test_fields_are_described_without_a_template_and_with_one(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\n[bold]Where?[/],a\nWhy?,b\n", encoding="utf-8")
    plain = ask("describe", path)
    assert "label" in plain.stdout
    assert "[bold]Where?[/]" in plain.stdout
    made = ask("describe", path, "--user", "{{ text }}", "--assistant", "{{ label }}")
    assert "⟦a⟧" in made.stdout


@pytest.mark.parametrize(
    ("dollars", "said"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (1234.5, "$1,234.50"),
        (0.3587, "$0.3587"),
        (0.000015, "$0.000015"),
    ],
)
def test_money_is_never_rounded_to_nothing(dollars: float | None, said: str) -> None:
    assert money(dollars) == said
