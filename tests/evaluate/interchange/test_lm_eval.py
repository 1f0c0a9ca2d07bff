"""lm-eval's logged samples become rounds, one for each task."""

from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.interchange.bringing import bring, written

from selftune.core.errors import InvalidInput

DATE = "2026-04-15T13-55-33.588896"


def totals(folder: Path, **task: Any) -> Path:
    config = {
        "task": "cap",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 32, "temperature": 0.0},
        **task,
    }
    whole = {
        "results": {"cap": {"exact_match,none": 0.5}},
        "configs": {"cap": config},
        "higher_is_better": {"cap": {"exact_match": True, "loss": False}},
        "config": {"model": "local-chat-completions", "model_args": "model=m,base_url=x"},
        "date": 1_776_261_333.5,
        "model_name": "mine",
    }
    return written(folder / f"results_{DATE}.json", whole)


def line(number: int, output: str, score: Any, filter: str = "none", **more: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": {"q": f"q{number}", "a": "x"},
        "target": "x",
        "arguments": {"gen_args_0": {"arg_0": f"Q: q{number}", "arg_1": {"until": ["\n"]}}},
        "resps": [[output]],
        "filtered_resps": [output],
        "filter": filter,
        "metrics": ["exact_match"],
        "exact_match": score,
        "doc_hash": "h",
        **more,
    }


def samples(folder: Path, *lines: dict[str, Any]) -> Path:
    return written(folder / f"samples_cap_{DATE}.jsonl", list(lines))


def test_samples_and_totals_become_a_round_and_an_eval(tmp_path: Path) -> None:
    totals(tmp_path / "run")
    samples(tmp_path / "run", line(0, "x", 1.0), line(1, "y", 0.0))
    found = bring(tmp_path, tmp_path / "run")
    record, items, results = found.round()
    assert (record.source, record.arms[0].name) == ("lm-eval", "mine")
    assert record.created_at == 1_776_261_333
    assert [(r.passed, r.usage, r.timing) for r in results] == [
        (True, None, None),
        (False, None, None),
    ]
    assert [item.id for item in found.asked] == [item.id for item in items]
    assert found.asked[0].messages == ({"role": "user", "content": "Q: q0"},)
    assert found.spec.evaluation.max_tokens == 32
    assert found.spec.evaluation.graders[0]["operation"] == "eq"
    assert any("plain text" in gap for gap in found.gaps)
    assert any("`until`" in gap for gap in found.gaps)


def test_each_filter_is_a_score_of_the_same_answer(tmp_path: Path) -> None:
    totals(tmp_path)
    rows = [line(0, "is x", 0.0), line(1, "x", 1.0), line(0, "is x", 1.0, "flexible")]
    rows.append(line(1, "x", 1.0, "flexible"))
    record, items, results = bring(tmp_path, samples(tmp_path, *rows)).round()
    assert len(items) == 2
    assert [g["name"] for g in record.graders] == ["exact_match,none", "exact_match,flexible"]
    assert [score.value for score in results[0].scores] == [0.0, 1.0]


def test_a_chat_that_was_sent_is_a_chat(tmp_path: Path) -> None:
    chat = '[{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]'
    row = line(0, "x", 1.0, arguments=[[[chat], {"until": []}]])
    found = bring(tmp_path, samples(tmp_path, row))
    assert [message["role"] for message in found.rows[0]["messages"]] == ["system", "user"]
    assert any("model and time are unknown" in gap for gap in found.gaps)


def test_likelihoods_make_a_round_and_no_eval(tmp_path: Path) -> None:
    arguments = {f"gen_args_{n}": {"arg_0": "Q", "arg_1": f" {n}"} for n in range(2)}
    row = line(
        0, "", 1.0, arguments=arguments, resps=[[[-1.0, True]]], filtered_resps=[[-1.0, True]]
    )
    found = bring(tmp_path, totals(tmp_path), samples(tmp_path, row))
    assert found.kept.questions == ()
    assert any("compares likelihoods" in gap for gap in found.gaps)
    assert found.round()[2][0].passed


def test_metrics_that_grade_no_single_answer_are_named(tmp_path: Path) -> None:
    row = line(0, "x", 1.0, metrics=["exact_match", "loss", "bleu"], loss=0.2, bleu=["x", "y"])
    found = bring(tmp_path, totals(tmp_path), samples(tmp_path, row))
    assert [g["name"] for g in found.round()[0].graders] == ["exact_match,none"]
    assert any("'loss,none': less is better" in gap for gap in found.gaps)
    assert any("'bleu,none' has no number" in gap for gap in found.gaps)


def test_a_comparison_with_options_of_its_own_is_not_taken_for_a_plain_one(tmp_path: Path) -> None:
    totals(tmp_path, metric_list=[{"metric": "exact_match", "ignore_case": True}])
    samples(tmp_path, line(0, "x", 1.0))
    found = bring(tmp_path, *sorted(tmp_path.glob("*.json*")))
    assert found.kept.evals == ()
    assert any("'exact_match,none'" in gap for gap in found.gaps)


def test_totals_alone_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--log_samples"):
        bring(tmp_path, totals(tmp_path))
