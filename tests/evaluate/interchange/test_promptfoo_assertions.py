"""Assertions become graders with the verdicts that promptfoo itself gives."""

from typing import Any

import pytest
from tests.evaluate.interchange.verdicts import VERDICTS
from tests.evaluate.test_sandbox import needs_sandbox

from selftune.core.errors import InvalidInput
from selftune.evaluate.grading import build_scorer, sample_of
from selftune.evaluate.interchange.promptfoo_assertions import mapped
from selftune.evaluate.scorer import guarded


def verdict(assertion: dict[str, Any], output: str) -> bool | None:
    found = mapped(assertion, None)
    grader = found.grader if found.literal is None else {**found.grader, found.field: found.literal}
    return guarded(build_scorer(grader), {"capital": "Lima"}, sample_of(output)).passed


@pytest.mark.parametrize(
    ("assertion", "output", "passes"), [v for v in VERDICTS if v[0]["type"] != "python"]
)
def test_a_grader_passes_what_promptfoo_passes(
    assertion: dict[str, Any], output: str, passes: bool
) -> None:
    assert verdict(assertion, output) is passes


@needs_sandbox
@pytest.mark.parametrize(
    ("assertion", "output", "passes"), [v for v in VERDICTS if v[0]["type"] == "python"]
)
def test_a_program_passes_what_promptfoo_passes(
    assertion: dict[str, Any], output: str, passes: bool
) -> None:
    assert verdict(assertion, output) is passes


@pytest.mark.parametrize(
    ("assertion", "words"),
    [
        ({"type": "javascript", "value": "true"}, "another language"),
        ({"type": "python", "value": "file://grade.py"}, "'file://grade.py'"),
        ({"type": "javascript", "value": "file://grade.js"}, "'file://grade.js'"),
        ({"type": "python", "value": "output == '{{ capital }}'"}, "template"),
        ({"type": "rouge-n", "value": "x"}, "counts words"),
        ({"type": "levenshtein", "value": "x", "threshold": 2}, "no grader judges so"),
        ({"type": "not-is-json"}, "no grader judges so"),
        ({"type": "contains", "value": "{{ x | upper }}"}, "counterpart"),
        ({"type": "contains", "value": "{{ env.KEY }}"}, "'env"),
        ({"type": "not-contains", "value": "{{ x }}"}, "template"),
        ({"type": "contains", "value": ""}, "neither a text nor a number"),
        ({"type": "contains", "value": "x", "transform": "output.trim()"}, "'transform'"),
        ({"type": "contains", "value": "x", "threshold": "high"}, "threshold"),
        ({"type": "regex", "value": r"\p{L}"}, r"\\\\p"),
        ({"type": "regex", "value": "("}, "regular expression"),
        ({"type": "is-json", "value": {"properties": {"a": {"format": "date"}}}}, "`format`"),
        ({"type": "is-json", "value": {"items": [{"type": "string"}]}}, "`items`"),
        ({"type": "llm-rubric", "value": "polite"}, "--judge"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused_with_a_reason(
    assertion: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        mapped(assertion, None)


def test_a_rubric_asks_the_model_that_the_assertion_or_the_caller_names() -> None:
    rubric = {"type": "llm-rubric", "value": "Mentions {{ capital }}.", "threshold": 0.8}
    found = mapped(rubric, "gpt-4o").grader
    assert (found["type"], found["model"], found["pass_threshold"]) == (
        "score_model",
        "gpt-4o",
        0.8,
    )
    assert "Mentions {{ item.capital }}." in found["input"][0]["content"]
    own = mapped({**rubric, "provider": "openai:chat:o3"}, "gpt-4o")
    assert own.grader["model"] == "o3"
    assert "checked anew" in own.note
