"""`selftune eval compare` and `history` as a user types them."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.evaluate.made_rounds import Score, scored_round
from typer.testing import CliRunner, Result

from selftune.cli.eval import app
from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.rounds import eval_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path))
    return tmp_path


def kept(home: Path, name: str, **models: Sequence[Score]) -> Path:
    path = eval_folder(home, "My eval") / "rounds" / name
    day = 1_790_000_000 + 86_400 * len(list(path.parent.glob("*")))
    scored_round(path, models, eval="My eval", created_at=day)
    return path


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)


def test_a_round_is_found_by_its_id_its_folder_or_its_eval(home: Path) -> None:
    path = kept(home, "evalrun_1", base=[0.0] * 10, tuned=[1.0] * 10)
    shown = [typed("compare", name) for name in ("evalrun_1", str(path), "My eval")]
    assert {one.exit_code for one in shown} == {0}
    assert len({one.output for one in shown}) == 1
    assert "'tuned' is better than 'base': +100.0 points on 10 questions" in shown[0].output
    with pytest.raises(NotFound, match="No round 'nothing'"):
        typed("compare", "nothing")


def test_several_rounds_stand_side_by_side(home: Path) -> None:
    kept(home, "one", tuned=[0.0] * 10)
    kept(home, "two", tuned=[1.0] * 10)
    found = json.loads(typed("compare", "one", "two", "--json").stdout)
    assert [arm["summary"]["name"] for arm in found["arms"]] == ["tuned", "tuned (two)"]
    turned = typed("compare", "one", "two", "--baseline", "tuned (two)", "--markdown").stdout
    assert "**'tuned' is worse than 'tuned (two)'" in turned


def test_pages_and_xml_are_written_where_they_should_be(home: Path) -> None:
    kept(home, "one", base=[0.0] * 10, tuned=[1.0] * 10)
    page, cases = home / "out" / "page.html", home / "out" / "cases.xml"
    shown = typed("compare", "one", "--html", str(page), "--junit", str(cases), "--per-day", "100")
    assert shown.exit_code == 0
    assert "cost of a year, 100 a day" in page.read_text(encoding="utf-8")
    assert cases.read_text(encoding="utf-8").count("<testcase") == 20


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--fail-under", "0.8"), 0, "passed fail-under, tuned"),
        (("--fail-under", "0.81"), 1, "failed fail-under, tuned"),
        (("--fail-under", "0.8", "--sure"), 3, "cannot tell fail-under"),
        (("--no-worse-than", "old"), 0, "passed no-worse-than, tuned"),
        (("--no-worse-than", "good"), 1, "it is worse"),
        (("--no-worse-than", "near"), 3, "cannot tell no-worse-than"),
        (("--no-worse-than", "near", "--margin", "0.2"), 0, "a loss of 20 points is ruled out"),
        (("--fail-under", "0.8", "--no-worse-than", "good"), 1, "passed fail-under, tuned"),
        (("--fail-under", "0.1", "--gated", "base"), 1, "failed fail-under, base"),
    ],
)
def test_the_exit_status_is_for_builds(
    home: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    for name, right in (("old", 60), ("good", 100), ("near", 82)):
        kept(home, name, base=[0.0] * 100, tuned=[1.0] * right + [0.0] * (100 - right))
    kept(home, "new", base=[0.0] * 100, tuned=[1.0] * 80 + [0.0] * 20)
    shown = typed("compare", "new", *arguments)
    assert shown.exit_code == status
    assert words in shown.stderr
    assert "fail-under" not in shown.stdout


def test_the_name_of_the_eval_means_the_round_before(home: Path) -> None:
    kept(home, "one", tuned=[1.0] * 20)
    with pytest.raises(NotFound, match="no finished round before 'one'"):
        typed("compare", "one", "--no-worse-than", "My eval")
    path = kept(home, "two", tuned=[0.0] * 20)
    shown = typed("compare", "My eval", "--no-worse-than", "My eval")
    assert shown.exit_code == 1
    assert "against 'tuned (one)'" in shown.stderr
    for itself in ("two", str(path)):
        with pytest.raises(InvalidInput, match="is the one that is judged"):
            typed("compare", "two", "--no-worse-than", itself)


def test_too_few_answers_leave_with_3(home: Path) -> None:
    kept(home, "new", tuned=[1.0] * 9 + [None])
    shown = typed("compare", "new", "--fail-under", "0.5")
    assert shown.exit_code == 3
    assert "cannot tell coverage, tuned: 9 of 10 answers could be scored" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--baseline", "nobody"), "no model 'nobody' to compare with"),
        (("--fail-under", "0.5", "--gated", "nobody"), "no model 'nobody' to judge"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    home: Path, arguments: tuple[str, ...], words: str
) -> None:
    kept(home, "one", base=[0.0] * 10, tuned=[1.0] * 10)
    with pytest.raises((InvalidInput, NotFound), match=words):
        typed("compare", "one", *arguments)


@pytest.mark.parametrize("option", [("--fail-under", "80"), ("--margin", "-1")])
def test_a_number_that_makes_no_sense_is_refused(home: Path, option: tuple[str, str]) -> None:
    kept(home, "one", base=[0.0] * 10, tuned=[1.0] * 10)
    shown = typed("compare", "one", *option)
    assert shown.exit_code == 2
    assert f"Invalid value for '{option[0]}'" in shown.stderr


def test_history_shows_rounds_in_their_order(home: Path) -> None:
    kept(home, "one", base=[0.0] * 10, tuned=[0.0] * 10)
    kept(home, "two", base=[0.0] * 10, tuned=[1.0] * 10)
    path = eval_folder(home, "My eval") / "rounds" / "three"
    scored_round(path, {"tuned": [1.0]}, {"id": ["another"]}, created_at=1_800_000_000)
    lines = typed("history", "My eval").output.splitlines()
    assert lines[0] == "my-eval"
    text = "\n".join(lines)
    assert text.index("one ") < text.index("two ") < text.index("other questions from here on")
    assert "better" in text
    found = json.loads(typed("history", "--json").output)
    assert [past["id"] for past in found["my-eval"]] == ["one", "two", "three"]
    assert [past["has_other_items"] for past in found["my-eval"]] == [False, False, True]


def test_the_program_of_the_docs_runs(tmp_path: Path) -> None:
    home = tmp_path / ".selftune"
    scored_round(home / "evals/support/rounds/one", {"a": [0.0] * 9, "b": [1.0] * 9})
    page = Path(__file__).parents[2] / "docs" / "how-to" / "compare-models.md"
    program = re.findall(r"^```py\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", program[0]],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("'b' is better than 'a'")
    assert (tmp_path / "report.html").exists()


def test_history_of_nothing(home: Path) -> None:
    assert home.is_dir()
    assert typed("history").output == "none\n"
    with pytest.raises(NotFound, match="has no rounds"):
        typed("history", "nothing")
