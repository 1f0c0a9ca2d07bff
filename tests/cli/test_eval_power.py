"""`selftune eval` as a user types it."""

import json

import pytest
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.core.errors import InvalidInput


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["eval", "power", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_questions_that_show_a_difference_are_said_for_what_models_differ_on() -> None:
    found = json.loads(shown("--difference", "0.05", "--differing", "0.2", "--json"))
    assert found == [{"differing": 0.2, "questions": 665}]


def test_the_difference_that_questions_show_is_said() -> None:
    found = json.loads(shown("--questions", "200", "--json"))
    assert [row["differing"] for row in found] == [0.1, 0.2, 0.4]
    assert found[0]["difference"] == pytest.approx(0.067, abs=1e-3)
    assert json.loads(shown("--questions", "3", "--json"))[0]["difference"] is None


def test_both_together_say_how_likely_it_is() -> None:
    found = json.loads(shown("--questions", "200", "--difference", "0.15", "--json"))
    assert [row["differing"] for row in found] == [0.2, 0.4]
    assert found[0]["likelihood"] > 0.99
    assert json.loads(shown("--difference", "0.5", "--json"))[0]["differing"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--questions", "0"), "n is 0"),
        (("--difference", "2"), "must be a share"),
        (("--difference", "0"), "must be a share"),
        (("--differing", "0", "--questions", "5"), "differs is 0"),
        (("--likelihood", "1"), "power is 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        CliRunner().invoke(app, ["eval", "power", *arguments], catch_exceptions=False)
