"""Each scorer on answers that are right, wrong, and beyond judging."""

import math
from typing import Any

import pytest

from selftune.core.errors import InvalidInput, UnknownPlugin
from selftune.evaluate.grading import build_scorer, fields_read, sample_of
from selftune.evaluate.scorer import guarded

ITEM = {
    "label": "7",
    "keywords": ["15%", "Director"],
    "price": 40.0,
    "link": "https://a.example/x",
    "intent": "refund",
    "weights": [3, 1],
}


CHECK = {"type": "string_check", "reference": "{{ item.label }}"}
ALIKE = {"type": "text_similarity", "reference": "{{ item.label }}"}
PRICE = {"type": "numeric_error", "reference": "{{ item.price }}"}
LABEL = {"type": "label", "reference": "{{ item.intent }}", "labels": ["refund", "card"]}
SHAPE = {
    "type": "json_schema",
    "json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
HALVES = {
    "type": "multi",
    "graders": {"same": CHECK, "inside": CHECK | {"operation": "like"}},
    "calculate_output": "(same + inside) / 2",
}


@pytest.mark.parametrize(
    ("grader", "output", "value", "passed"),
    [
        ({"type": "string_check", "reference": "{{ item.label }}"}, "7", 1.0, True),
        ({"type": "string_check", "reference": "{{ item.label }}"}, "7 ", 0.0, False),
        ({"type": "string_check", "reference": "X", "operation": "ilike"}, "axb", 1.0, True),
        ({"type": "keyword_coverage"}, "The director", 1.0, True),
        ({"type": "keyword_coverage"}, "nobody", 0.0, False),
        ({"type": "keyword_coverage", "steps": [[0.6, 1.0], [0.5, 0.7]]}, "15%", 0.7, False),
        ({"type": "keyword_coverage", "steps": [[0.1, 0.2], [0.5, 0.6]]}, "15%", 0.6, False),
        (
            {"type": "keyword_coverage", "weights": "weights", "steps": [[0.7, 0.9]]},
            "15%",
            0.9,
            False,
        ),
        (
            {"type": "keyword_coverage", "steps": [[0.5, 0.6]], "pass_credit": 0.6},
            "15%",
            0.6,
            True,
        ),
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
        (CHECK | {"operation": "ne"}, "8", 1.0, True),
        (CHECK | {"operation": "neq"}, "7", 0.0, False),
        (CHECK | {"operation": "like"}, "the 7th", 1.0, True),
        (
            {"type": "string_check", "reference": "X", "operation": "like"},
            "axb",
            0.0,
            False,
        ),
        (ALIKE | {"evaluation_metric": "rouge_1"}, "7 8", 2 / 3, True),
        (ALIKE | {"evaluation_metric": "rouge_1", "pass_threshold": 0.7}, "7 8", 2 / 3, False),
        (PRICE | {"measure": "relative"}, "$50", 0.25, True),
        (PRICE | {"measure": "squared_log"}, "$0", math.log(41) ** 2, True),
        (LABEL, " REFUND ", 1.0, True),
        (LABEL, "card", 0.0, False),
        (LABEL, "I think it is refund", 0.0, False),
        (LABEL | {"exact": True}, "Refund", 0.0, False),
        (SHAPE, '{"a": 1}', 1.0, True),
        (SHAPE, '{"a": "1"}', 0.0, False),
        (SHAPE, "{", 0.0, False),
        (HALVES, "7", 1.0, True),
        (HALVES, "17", 0.5, False),
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
        ({"type": "keyword_coverage", "keywords": "nothing"}, "no list 'nothing'"),
        ({"type": "keyword_coverage", "weights": "keywords"}, "2 numbers above 0"),
        (LABEL | {"reference": "{{ item.label }}"}, "not one of the labels"),
        (CHECK | {"input": "{{ sample.output_json.a }}"}, "no attribute 'output_json'"),
        (HALVES | {"calculate_output": "same / 0"}, "no value"),
        (
            {"type": "multi", "graders": PRICE, "calculate_output": "numeric_error"},
            "numeric_error: the answer has no number",
        ),
        (ALIKE | {"evaluation_metric": "cosine"}, "no embedding model"),
        ({"type": "semantic", "references": ["{{ item.label }}"]}, "no embedding model"),
    ],
)
def test_what_cannot_be_judged_is_errored_and_not_zero(grader: dict[str, Any], reason: str) -> None:
    found = guarded(build_scorer(grader), ITEM, {"output_text": "none"})
    assert found.status == "errored"
    assert found.value is None
    assert reason in str(found.reason)


def test_a_number_that_has_no_such_error_is_errored() -> None:
    for grader, item, output in (
        (PRICE | {"measure": "relative"}, {"price": 0}, "5"),
        (PRICE | {"measure": "squared_log"}, {"price": -3}, "5"),
    ):
        found = guarded(build_scorer(grader), item, sample_of(output))
        assert (found.status, found.value) == ("errored", None)


def test_the_flag_says_why_there_is_no_score() -> None:
    def fault(grader: dict[str, Any]) -> str | None:
        return guarded(build_scorer(grader), ITEM, sample_of("none")).fault

    missing = CHECK | {"reference": "{{ item.nothing }}"}
    assert fault(missing) == "invalid_variable_error"
    inside = {"type": "multi", "graders": [missing], "calculate_output": "2 * string_check"}
    assert fault(inside) == "invalid_variable_error"
    assert fault(HALVES | {"calculate_output": "same / 0"}) == "other_error"


def test_a_formula_does_not_need_the_graders_that_it_does_not_read() -> None:
    graders = {"ok": CHECK, "broken": CHECK | {"reference": "{{ item.nothing }}"}}
    grader = {"type": "multi", "graders": graders, "calculate_output": "ok"}
    found = guarded(build_scorer(grader), ITEM, sample_of("7"))
    assert found.value == 1.0
    assert found.parts["broken"].status == "errored"


def test_templates_reach_into_json_and_tool_calls() -> None:
    sample = sample_of('{"a": {"b": [7]}}') | {
        "output_tools": [{"function": {"name": "refund", "arguments": '{"order": 7, "all": true}'}}]
    }
    for template, reference in (
        ("{{sample.output_json.a.b[0]}}", "7"),
        ("{{ sample.output_tools[0].function.name }}", "refund"),
        ("{{ sample.choices[0].message.content }}", '{"a": {"b": [7]}}'),
    ):
        grader = {"type": "string_check", "input": template, "reference": reference}
        assert guarded(build_scorer(grader), ITEM, sample).passed, template


@pytest.mark.parametrize(
    ("wanted", "called", "text", "value"),
    [
        ('refund {"order": 7, "why": "late"}', '{"why":"late", "order":7.0}', "", 1.0),
        ('refund {"order": 7, "why": "late"}', '{"why":"late", "order":"7"}', "", 0.0),
        ("refund {}", "", "yes", 1.0),
        ("refund {}", None, "yes", 0.0),
        ("", "{}", "yes", 0.0),
        ("", None, "yes", 1.0),
        ("", None, "no", 0.0),
    ],
)
def test_the_same_calls_are_right_and_words_only_where_nothing_is_called(
    wanted: str, called: str | None, text: str, value: float
) -> None:
    words = {"type": "string_check", "reference": "yes"}
    grader = {"type": "same_calls", "reference": "{{ item.calls }}", "otherwise": words}
    call = {"function": {"name": "refund", "arguments": called}}
    sample = {"output_text": text, "output_tools": [] if called is None else [call]}
    assert guarded(build_scorer(grader), {"calls": wanted}, sample).value == value
    with pytest.raises(InvalidInput, match="holds graders itself"):
        build_scorer(grader | {"otherwise": grader})


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"arguments": {"order": "{{ item.label }}", "all": True}}, 1.0),
        ({"arguments": {"order": 7, "all": 1}}, 0.0),
        ({"arguments": {"order": 7}}, 0.0),
        ({"arguments": {"order": 7}, "others": True}, 1.0),
        ({"arguments": {"order": 8, "all": True}}, 0.0),
        ({"function": "cancel", "others": True}, 0.0),
    ],
)
def test_a_tool_call_has_its_name_and_arguments(options: dict[str, Any], value: float) -> None:
    call = {"function": {"name": "refund", "arguments": '{"order": 7, "all": true}'}}
    scorer = build_scorer({"type": "tool_call", "function": "refund"} | options)
    assert guarded(scorer, ITEM, {"output_text": "", "output_tools": [call]}).value == value
    assert guarded(scorer, ITEM, sample_of("refund")).value == 0.0
    broken = {"function": {"name": "refund", "arguments": "{"}}
    assert guarded(scorer, ITEM, {"output_text": "", "output_tools": [broken]}).value == 0.0


def test_names_of_graders_may_be_missing_and_must_differ() -> None:
    one = {"type": "multi", "graders": CHECK, "calculate_output": "string_check"}
    assert guarded(build_scorer(one), ITEM, sample_of("7")).value == 1.0
    listed = one | {"graders": [CHECK, CHECK | {"name": "other one"}]}
    both = listed | {"calculate_output": "string_check + other one"}
    assert guarded(build_scorer(both), ITEM, sample_of("7")).value == 2.0
    with pytest.raises(InvalidInput, match="two of its graders have one name"):
        build_scorer(one | {"graders": [CHECK, CHECK]})


@pytest.mark.parametrize(
    ("grader", "words"),
    [
        ({"type": "string_check"}, "lacks 'reference'"),
        (CHECK | {"operation": "is"}, "not valid: 'operation'"),
        (CHECK | {"referense": "x"}, "'referense'"),
        (CHECK | {"reference": "{{ label }}"}, r"reads 'label'.*as in \{\{ item.label \}\}"),
        (CHECK | {"reference": "{{ item.label"}, "is not valid"),
        (HALVES | {"graders": {}}, "0 graders"),
        (HALVES | {"graders": {"a": 1}}, "'a' is not a grader"),
        (HALVES | {"graders": {"same": HALVES}}, "cannot be inside another"),
        (HALVES | {"calculate_output": "same + nothing"}, "'nothing' is not one"),
        (SHAPE | {"json_schema": {"type": "nothing"}}, "JSON Schema is not valid"),
        (LABEL | {"labels": ["one"]}, "'labels'"),
    ],
)
def test_what_is_no_grader_is_refused(grader: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        build_scorer(grader)


def test_a_schema_reaches_nothing_outside_itself() -> None:
    shape = {"$ref": "http://127.0.0.1:9/schema.json"}
    grader = {"type": "json_schema", "json_schema": shape}
    found = guarded(build_scorer(grader), ITEM, sample_of("{}"))
    assert found.status == "errored"
    assert "cannot be used" in str(found.reason)


def test_an_unknown_scorer_and_a_bad_pattern_are_refused() -> None:
    with pytest.raises(UnknownPlugin, match="string_check"):
        build_scorer({"type": "nope"})
    with pytest.raises(InvalidInput, match="not a regular expression"):
        build_scorer({"type": "regex", "pattern": "("})


def test_a_template_reaches_nothing_behind_a_value() -> None:
    attack = "{{ item.__class__.__mro__[1].__subclasses__() }}"
    found = guarded(
        build_scorer({"type": "string_check", "reference": attack}), ITEM, {"output_text": ""}
    )
    assert found.status == "errored"


def test_an_answer_without_a_number_is_wrong_and_has_no_error() -> None:
    judge = build_scorer({"type": "numeric_error", "reference": "{{ item.price }}"})
    for output in ("none", "9" * 400):  # the second is infinite
        found = guarded(judge, ITEM, {"output_text": output})
        assert (found.status, found.passed, found.credit) == ("scored", False, 0.0)
        assert found.value is None
        assert found.reason == "the answer has no number"


def test_what_graders_read_of_an_item_is_known_before_they_judge() -> None:
    assert fields_read((CHECK, PRICE)) == {"label", "price"}
    assert fields_read((HALVES,)) == {"label"}
    assert fields_read((HALVES | {"graders": [LABEL, CHECK]},)) == {"intent", "label"}
    assert fields_read(({"type": "regex", "pattern": "{{ item.label }}"},)) == set()
