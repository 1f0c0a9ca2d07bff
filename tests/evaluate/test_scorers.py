"""Each scorer on answers that are right, wrong, and beyond judging."""

from typing import Any

import pytest

from selftune.core.errors import InvalidInput, UnknownPlugin
from selftune.evaluate.run import build_scorer
from selftune.evaluate.scorer import guarded

ITEM = {"label": "7", "keywords": ["15%", "Director"], "price": 40.0, "link": "https://a.example/x"}


@pytest.mark.parametrize(
    ("grader", "output", "value", "passed"),
    [
        ({"type": "string_check", "reference": "{{ item.label }}"}, "7", 1.0, True),
        ({"type": "string_check", "reference": "{{ item.label }}"}, "7 ", 0.0, False),
        ({"type": "string_check", "reference": "X", "operation": "ilike"}, "axb", 1.0, True),
        ({"type": "keyword_coverage"}, "The director", 1.0, True),
        ({"type": "keyword_coverage"}, "nobody", 0.0, False),
        ({"type": "keyword_coverage", "steps": [[0.6, 1.0], [0.5, 0.7]]}, "15%", 0.7, False),
        ({"type": "starts_with", "phrase": "Hello"}, "Hello there", 1.0, True),
        (
            {"type": "contains_link", "link": "{{ item.link }}"},
            "See https://a.example/x.",
            1.0,
            True,
        ),
        (
            {"type": "contains_link", "link": "{{ item.link }}"},
            "https://a.example/x and https://b.example",
            0.0,
            False,
        ),
        ({"type": "numeric_error", "reference": "{{ item.price }}"}, "$1,040.50", 1000.5, False),
        ({"type": "numeric_error", "reference": "{{ item.price }}"}, "about $70", 30.0, True),
        ({"type": "regex", "pattern": r"\d+", "whole": True}, "12", 1.0, True),
    ],
)
def test_a_scorer_judges(grader: dict[str, Any], output: str, value: float, passed: bool) -> None:
    found = guarded(build_scorer(grader), ITEM, {"output_text": output})
    assert found.status == "scored"
    assert found.value == pytest.approx(value)
    assert found.passed is passed


@pytest.mark.parametrize(
    ("grader", "reason"),
    [
        ({"type": "string_check", "reference": "{{ item.nothing }}"}, "cannot be filled"),
        ({"type": "numeric_error", "reference": "{{ item.price }}"}, "no number"),
        ({"type": "keyword_coverage", "keywords": "nothing"}, "no list 'nothing'"),
    ],
)
def test_what_cannot_be_judged_is_errored_and_not_zero(grader: dict[str, Any], reason: str) -> None:
    found = guarded(build_scorer(grader), ITEM, {"output_text": "none"})
    assert found.status == "errored"
    assert found.value is None
    assert reason in str(found.reason)


def test_an_unknown_scorer_and_a_bad_pattern_are_refused() -> None:
    with pytest.raises(UnknownPlugin, match="string_check"):
        build_scorer({"type": "nope"})
    with pytest.raises(InvalidInput, match="not a regular expression"):
        build_scorer({"type": "regex", "pattern": "("})


def test_a_template_reaches_nothing_but_its_two_names() -> None:
    attack = "{{ item.__class__.__mro__[1].__subclasses__() }}"
    found = guarded(
        build_scorer({"type": "string_check", "reference": attack}), ITEM, {"output_text": ""}
    )
    assert found.status == "errored"
