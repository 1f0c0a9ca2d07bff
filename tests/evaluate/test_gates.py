"""What builds depend on: three ends of each gate, one status, and JUnit's XML."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.made_rounds import Score, items, result, scored_round, unanswered, write_round

from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.gates import (
    INCONCLUSIVE,
    MISUSED,
    PASSED,
    REGRESSED,
    Gate,
    coverage,
    exit_status,
    fail_under,
    gated,
    judge,
    no_worse_than,
)
from selftune.evaluate.junit import safe, write_junit
from selftune.evaluate.pairing import partner
from selftune.evaluate.report import read_report
from selftune.evaluate.results import Result
from selftune.evaluate.scorer import Graded
from selftune.evaluate.summary import Summary
from selftune.evaluate.verdict import Policy


def passing(n: int, right: int) -> list[Score]:
    return [*[1.0] * right, *[0.0] * (n - right)]


@pytest.fixture
def arm(tmp_path: Path) -> Summary:
    """Return a model of which 80 of 100 answers pass: from 71.1 to 86.7 %."""
    return read_report(scored_round(tmp_path, {"m": passing(100, 80)})).arms[0].summary


@pytest.mark.parametrize(
    ("least", "sure", "outcome"),
    [
        (0.8, False, "passed"),
        (0.801, False, "failed"),
        (0.0, False, "passed"),
        (0.71, True, "passed"),
        (0.8, True, "cannot tell"),
        (0.866, True, "cannot tell"),
        (0.867, True, "failed"),
    ],
)
def test_the_least_share(arm: Summary, least: float, sure: bool, outcome: str) -> None:
    gate = fail_under(arm, least, sure=sure)
    assert gate.outcome == outcome
    assert "80.0% pass (95 % interval 71.1% to 86.7%, n=100)" in gate.words


@pytest.mark.parametrize("least", [-0.1, 1.1, 80.0])
def test_a_least_share_that_is_none_is_refused(arm: Summary, least: float) -> None:
    with pytest.raises(InvalidInput, match="share from 0 to 1"):
        fail_under(arm, least)


def test_without_enough_answers_nothing_is_judged(tmp_path: Path) -> None:
    def rows() -> Iterator[Result]:
        for at in range(100):
            yield unanswered("m", at) if at < 6 else result("m", at, 0.0)

    arms = [read_report(write_round(tmp_path, items(100), rows(), ["m"])).arms[0].summary]
    assert coverage(arms[0], 0.94).outcome == "passed"
    gates = judge(arms, 0.5)
    assert [gate.outcome for gate in gates] == ["cannot tell", "failed"]
    assert "94 of 100 answers could be scored (94.0%); at least 95% are needed" in gates[0].words
    assert exit_status(gates) == INCONCLUSIVE


def test_where_nothing_was_scored_the_share_cannot_be_told(tmp_path: Path) -> None:
    found = read_report(scored_round(tmp_path, {"m": [None]})).arms[0].summary
    assert fail_under(found, 0.5).outcome == "cannot tell"


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], PASSED),
        (["passed", "passed"], PASSED),
        (["passed", "failed", "cannot tell"], REGRESSED),
        (["cannot tell", "passed"], INCONCLUSIVE),
    ],
)
def test_one_status_for_all(outcomes: list[str], status: int) -> None:
    gates = [
        Gate.model_validate({"name": "g", "arm": "m", "outcome": one, "words": ""})
        for one in outcomes
    ]
    assert exit_status(gates) == status
    assert len({PASSED, REGRESSED, MISUSED, INCONCLUSIVE}) == 4


@pytest.mark.parametrize(
    ("before", "now", "outcome", "words"),
    [
        (passing(300, 240), passing(300, 240), "passed", "a loss of 2 points is ruled out"),
        (passing(300, 240), passing(300, 280), "passed", "a loss of 2 points is ruled out"),
        (passing(300, 240), passing(300, 200), "failed", "it is worse"),
        (passing(40, 30), passing(40, 29), "cannot tell", "more questions would tell"),
        (passing(40, 30), passing(40, 30), "cannot tell", "more questions would tell"),
        ([None] * 40, passing(40, 30), "cannot tell", "none of 40 questions"),
    ],
)
def test_no_worse_than_an_older_round(
    tmp_path: Path, before: list[Score], now: list[Score], outcome: str, words: str
) -> None:
    old = scored_round(tmp_path / "old", {"m": before})
    new = scored_round(tmp_path / "new", {"m": now})
    (gate,) = no_worse_than(["m"], new, old)
    assert gate.outcome == outcome
    assert words in gate.words


def test_a_larger_margin_lets_more_pass(tmp_path: Path) -> None:
    old = scored_round(tmp_path / "old", {"m": passing(100, 80)})
    new = scored_round(tmp_path / "new", {"m": passing(100, 78)})
    found = [no_worse_than(["m"], new, old, Policy(margin=m))[0].outcome for m in (0.02, 0.1)]
    assert found == ["cannot tell", "passed"]
    with pytest.raises(InvalidInput, match="needs a margin"):
        no_worse_than(["m"], new, old, Policy(margin=None))


@pytest.mark.parametrize(("shared", "is_enough"), [(8, False), (9, True)])
def test_a_baseline_that_asked_other_questions_is_refused(
    tmp_path: Path, shared: int, is_enough: bool
) -> None:
    ids = [f"i{at}" if at < shared else f"other {at}" for at in range(10)]
    old = scored_round(tmp_path / "old", {"m": [1.0] * 10}, {"id": ids})
    new = scored_round(tmp_path / "new", {"m": [1.0] * 10}, {"id": [f"i{at}" for at in range(10)]})
    if is_enough:
        assert "on 9 questions" in no_worse_than(["m"], new, old)[0].words
        return
    with pytest.raises(InvalidInput, match=r"only 8 of the 10 questions.*run the baseline again"):
        no_worse_than(["m"], new, old)


@pytest.mark.parametrize(
    ("name", "own", "others", "found"),
    [
        ("tuned", ["base", "tuned"], ["tuned", "base"], "tuned"),
        ("ft:2", ["base", "ft:2"], ["base", "ft:1"], "ft:1"),
        ("ft:2", ["base", "ft:2"], ["ft:1"], "ft:1"),
        ("ft:2", ["base", "ft:2"], ["a", "b", "c"], None),
    ],
)
def test_models_whose_names_changed_are_found_by_their_place(
    name: str, own: list[str], others: list[str], found: str | None
) -> None:
    assert partner(name, own, others) == found


def test_a_model_without_a_partner_is_refused(tmp_path: Path) -> None:
    old = scored_round(tmp_path / "old", {"a": [1.0], "b": [1.0]})
    new = scored_round(tmp_path / "new", {"m": [1.0]})
    with pytest.raises(InvalidInput, match="no model 'm' to compare with: it has 'a', 'b'"):
        no_worse_than(["m"], new, old)


def test_gates_are_for_all_but_the_baseline_or_for_those_named(tmp_path: Path) -> None:
    report = read_report(scored_round(tmp_path, {"a": [1.0], "b": [1.0], "c": [0.0]}))
    assert [one.name for one in gated(report)] == ["b", "c"]
    assert [one.name for one in gated(report, ["a"])] == ["a"]
    with pytest.raises(NotFound, match="no model 'd' to judge: the round has 'a', 'b', 'c'"):
        gated(report, ["d"])
    alone = read_report(scored_round(tmp_path / "alone", {"a": [1.0]}))
    assert [one.name for one in gated(alone)] == ["a"]


def test_junit_has_a_case_for_every_answer(tmp_path: Path) -> None:
    hostile = "\x00\x1b[31m]]></failure>&\ud7ff\ufffe"

    def rows() -> Iterator[Result]:
        yield result("base", 3, 0.0, output=hostile)
        yield result("base", 0, 1.0, sample=1)
        yield result("base", 0, 1.0)
        yield result("base", 1, None)
        yield unanswered("base", 2)
        skipped = Graded(status="skipped", reason="no reference")
        yield result("base", 4, 1.0, state="skipped", scores=(skipped,))

    names = ["one", 'two "quoted" <b>', "three", "four\n", "five", "six"]
    folder = write_round(tmp_path, items(6, id=names), rows(), ["base", "tuned"], eval="A & B")
    write_junit(folder, tmp_path / "out" / "junit.xml")
    root = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    base, tuned = root.findall("testsuite")
    assert root.get("name") == "A & B"
    counts = ("tests", "failures", "errors", "skipped")
    assert [base.get(name) for name in counts] == ["7", "1", "2", "2"]
    assert [tuned.get(name) for name in counts] == ["6", "0", "0", "6"]
    found = [(case.get("name"), [child.tag for child in case]) for case in base]
    assert found == [
        ("one", []),
        ("one #2", []),
        ('two "quoted" <b>', ["error"]),
        ("three", ["error"]),
        ("four\n", ["failure"]),
        ("five", ["skipped"]),
        ("six", ["skipped"]),
    ]
    for suite in (base, tuned):
        for name in counts[1:]:
            tag = {"failures": "failure", "errors": "error", "skipped": "skipped"}[name]
            assert len(suite.findall(f".//{tag}")) == int(suite.get(name) or -1)
    wrong = base.find(".//failure")
    assert wrong is not None
    assert wrong.text is not None
    assert "answer: \\x00\\x1b[31m]]></failure>&" in wrong.text
    assert [error.get("message") for error in base.findall(".//error")] == [
        "the judge did not answer",
        "the endpoint is overloaded",
    ]


@given(st.text())
def test_any_text_becomes_xml(text: str) -> None:
    shown = safe(text)
    element = ElementTree.Element("a")
    element.text = shown
    read = ElementTree.fromstring(ElementTree.tostring(element)).text or ""
    assert read.replace("\r\n", "\n").replace("\r", "\n") == re.sub(r"\r\n?", "\n", shown)
