"""promptfoo's results become rounds, and the eval they were made with."""

import copy
from pathlib import Path
from typing import Any

from tests.evaluate.interchange.bringing import bring, written

ASSERTS = [{"type": "icontains", "value": "{{a}}"}, {"type": "is-json", "metric": "json"}]


def part(passes: bool, assertion: dict[str, Any], score: float | None = None) -> dict[str, Any]:
    value = float(passes) if score is None else score
    return {"pass": passes, "score": value, "reason": "why", "assertion": assertion}


def row(question: str, column: int, *passes: bool, **more: Any) -> dict[str, Any]:
    parts = [part(each, assertion) for each, assertion in zip(passes, ASSERTS, strict=False)]
    score = sum(passes) / max(len(passes), 1)
    return {
        "promptIdx": column,
        "testIdx": 0,
        "provider": {"id": "openai:chat:gpt-4o-mini", "label": ("base", "tuned")[column]},
        "prompt": {"raw": f"Q: {question}", "label": "Q: {{q}}"},
        "vars": {"q": question, "a": "x"},
        "testCase": {"vars": {"q": question, "a": "x"}, "assert": ASSERTS, "options": {}},
        "response": {
            "output": f"to {question}",
            "tokenUsage": {"prompt": 7, "completion": 3, "total": 10},
            "cached": False,
        },
        "latencyMs": 250,
        "success": all(passes),
        "score": score,
        "failureReason": 0 if all(passes) else 1,
        "gradingResult": {"pass": all(passes), "score": score, "componentResults": parts},
        **more,
    }


def results(folder: Path, *rows: dict[str, Any]) -> Path:
    whole = {
        "evalId": "eval-abc",
        "results": {
            "version": 3,
            "timestamp": "2026-04-01T12:00:00.000Z",
            "prompts": [{"raw": "Q: {{q}}", "label": "Q: {{q}}", "provider": "base"}],
            "results": list(rows),
        },
        "config": {"description": "Quiz", "providers": ["openai:chat:gpt-4o-mini"]},
    }
    return written(folder / "results.json", whole)


def test_results_become_a_round_of_all_their_providers(tmp_path: Path) -> None:
    rows = [row("one", 0, True, True), row("one", 1, True, False), row("two", 0, True, True)]
    record, items, found = bring(tmp_path, results(tmp_path, *rows)).round()
    assert record.source == "promptfoo"
    assert record.created_at == 1_775_044_800
    assert [arm.name for arm in record.arms] == ["base", "tuned"]
    assert [arm.model for arm in record.arms] == ["gpt-4o-mini", "gpt-4o-mini"]
    assert [grader["name"] for grader in record.graders] == ["icontains", "json"]
    assert [item.messages[0]["content"] for item in items] == ["Q: one", "Q: two"]
    assert [(r.arm, r.index, r.passed) for r in found] == [
        ("base", 1, True),
        ("tuned", 1, False),
        ("base", 2, True),
    ]


def test_tokens_and_latency_are_kept_where_they_are_known(tmp_path: Path) -> None:
    cached = row("two", 0, True, True)
    cached["response"]["cached"] = True
    silent = row("three", 0, True, True, latencyMs=0)
    silent["response"]["tokenUsage"] = {"prompt": 0, "completion": 0}
    rows = [row("one", 0, True, True), cached, silent]
    record, _, found = bring(tmp_path, results(tmp_path, *rows)).round()
    assert found[0].timing is not None
    assert found[0].timing.answering == 0.25
    assert found[0].usage is not None
    assert found[0].usage.total_tokens == 10
    assert [(r.timing, r.usage) for r in found[1:]] == [(None, None), (None, None)]
    assert [r.reused for r in found] == [False, True, False]
    assert "waiting included" in record.facts["latency"]


def test_an_error_of_a_provider_is_no_wrong_answer(tmp_path: Path) -> None:
    lost = row("two", 0, failureReason=2, error="429", success=False, score=0)
    lost |= {"gradingResult": None, "response": None}
    old = {**lost, "vars": {"q": "three", "a": "x"}}
    old.pop("failureReason")
    record, _, found = bring(
        tmp_path, results(tmp_path, row("one", 0, True, True), lost, old)
    ).round()
    assert [result.state for result in found] == ["scored", "unanswered", "unanswered"]
    assert found[1].reason == "429"
    assert record.totals.unanswered == 2


def test_rows_with_different_assertions_keep_promptfoos_own_verdict(tmp_path: Path) -> None:
    other = row("two", 0, True)
    other["testCase"]["assert"] = ASSERTS[:1]
    by_threshold = row("three", 0, True, False, success=True, score=0.5)
    rows = [row("one", 0, True, False), other, by_threshold]
    record, _, found = bring(tmp_path, results(tmp_path, *rows)).round()
    assert [grader["name"] for grader in record.graders] == ["promptfoo"]
    assert [result.passed for result in found] == [False, True, True]
    assert found[0].scores[0].parts["json"].passed is False


def test_the_same_test_again_is_another_sample(tmp_path: Path) -> None:
    rows = [row("one", 0, True, True), row("one", 0, True, False)]
    record, items, found = bring(tmp_path, results(tmp_path, *rows)).round()
    assert (record.samples, len(items)) == (2, 1)
    assert [result.sample for result in found] == [0, 1]


def test_the_eval_that_comes_with_it_pairs_with_the_round(tmp_path: Path) -> None:
    found = bring(tmp_path, results(tmp_path, row("one", 0, True, True), row("two", 0, True, True)))
    assert [item.id for item in found.asked] == [item.id for item in found.round()[1]]
    assert found.asked[0].messages == ({"role": "user", "content": "Q: one"},)
    assert [grader["type"] for grader in found.spec.evaluation.graders] == [
        "string_check",
        "json_schema",
    ]


def test_the_config_and_its_results_name_items_alike(tmp_path: Path) -> None:
    tests = [{"vars": {"q": "one", "a": "x"}, "assert": ASSERTS}]
    config = {"prompts": ["Q: {{q}}"], "providers": ["openai:gpt-4o"], "tests": tests}
    made = bring(tmp_path / "a", written(tmp_path / "config.json", config))
    ran = bring(tmp_path / "b", results(tmp_path, row("one", 0, True, True)))
    assert made.asked[0].id == ran.round()[1][0].id


def test_older_results_and_lines_are_read_too(tmp_path: Path) -> None:
    old = copy.deepcopy(row("one", 0, True, True))
    for key in ("promptIdx", "testIdx", "testCase", "failureReason"):
        old.pop(key)
    old["prompt"] = {"raw": "Q: one", "display": "Q: {{q}}"}
    head = {"prompts": [{"raw": "Q: {{q}}", "display": "Q"}], "vars": ["q"]}
    whole = {"results": {"version": 2, "results": [old], "table": {"head": head, "body": []}}}
    found = bring(tmp_path / "a", written(tmp_path / "old.json", whole))
    assert found.round()[2][0].passed
    lines = bring(tmp_path / "b", written(tmp_path / "rows.jsonl", [row("one", 0, True, True)]))
    assert lines.round()[2][0].passed
    assert any("no templates of prompts" in gap for gap in lines.gaps)


def test_a_row_without_variables_is_left_out_and_counted(tmp_path: Path) -> None:
    bad = {"prompt": {"raw": "x"}, "provider": "p", "vars": None}
    found = bring(tmp_path, results(tmp_path, row("one", 0, True, True), bad, bad))
    assert any(gap.startswith("left out 2 rows: a result has no variables") for gap in found.gaps)
    assert len(found.round()[2]) == 1
