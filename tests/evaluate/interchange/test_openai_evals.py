"""OpenAI's evals, runs and output items become an eval to run and rounds to compare."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.interchange.bringing import bring, written

from selftune.core.errors import InvalidInput

UUID = "1c2a3b4d-1111-2222-3333-444455556666"
EVAL: dict[str, Any] = {
    "object": "eval",
    "id": "eval_1",
    "name": "Ticket labels",
    "created_at": 1_700_000_000,
    "data_source_config": {"type": "custom", "schema": {}},
    "testing_criteria": [
        {
            "type": "string_check",
            "id": f"Match-{UUID}",
            "name": f"Match-{UUID}",
            "input": "{{sample.output_text}}",
            "reference": "{{item.label}}",
            "operation": "eq",
        },
        {
            "type": "score_model",
            "name": "Tone",
            "model": "gpt-4o",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": {"type": "input_text", "text": "Rate {{sample.output_text}}"},
                }
            ],
            "range": [1, 5],
            "pass_threshold": 3,
            "sampling_params": None,
        },
    ],
}


def run(id: str, model: str, created: int, **source: Any) -> dict[str, Any]:
    template = [
        {"role": "system", "content": {"type": "input_text", "text": "Label it."}},
        {"role": "user", "content": [{"type": "input_text", "text": "Text: {{item.text}}"}]},
    ]
    return {
        "object": "eval.run",
        "id": id,
        "eval_id": "eval_1",
        "name": f"run of {model}",
        "created_at": created,
        "status": "completed",
        "model": model,
        "data_source": {
            "type": "completions",
            "model": model,
            "source": {"type": "file_id", "id": "file-1"},
            "input_messages": {"type": "template", "template": template},
            "sampling_params": {"temperature": 0.2, "max_completions_tokens": 50, "seed": None},
            **source,
        },
    }


def output_item(run_id: str, index: int, output: str, tone: Any = 4) -> dict[str, Any]:
    return {
        "object": "eval.run.output_item",
        "id": f"outputitem_{run_id}_{index}",
        "run_id": run_id,
        "eval_id": "eval_1",
        "created_at": 1_700_000_100,
        "status": "pass",
        "datasource_item_id": index,
        "datasource_item": {"text": f"ticket {index}", "label": "a"},
        "results": [
            {"name": f"Match-{UUID}", "score": float(output == "a"), "passed": output == "a"},
            {"name": "Tone", "score": tone, "passed": isinstance(tone, int) and tone >= 3},
        ],
        "sample": {
            "input": [{"role": "user", "content": f"Text: ticket {index}"}],
            "output": [{"role": "assistant", "content": output}],
            "finish_reason": "stop",
            "model": "gpt-4o-mini-2024-07-18",
            "usage": {
                "total_tokens": 12,
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "cached_tokens": 4,
            },
            "error": None,
        },
    }


def saved(folder: Path) -> Path:
    """Save one eval with two runs, each kind of object in a way of its own."""
    written(folder / "eval.json", EVAL)
    runs = [run("evalrun_a", "gpt-4o-mini", 1_700_000_001), run("evalrun_b", "ft:x", 1_700_000_002)]
    written(folder / "runs.json", {"object": "list", "data": runs, "has_more": False})
    items = [
        output_item(id, n, "a" if n else "b")
        for id in ("evalrun_a", "evalrun_b")
        for n in (2, 0, 1)
    ]
    written(folder / "items.jsonl", items)
    return folder


def test_an_eval_with_its_runs_becomes_a_file_that_asks_the_same(tmp_path: Path) -> None:
    found = bring(tmp_path, saved(tmp_path / "saved"))
    assert found.gaps == ()
    spec = found.spec
    assert spec.name == "Ticket labels"
    assert [grader["name"] for grader in spec.evaluation.graders] == ["Match", "Tone"]
    assert [model.model for model in spec.models] == ["gpt-4o-mini", "ft:x"]
    assert spec.models[0].base_url == "https://api.openai.com/v1"
    assert spec.models[0].sampling == {"temperature": 0.2, "max_completion_tokens": 50}
    assert found.asked[0].messages == (
        {"role": "system", "content": "Label it."},
        {"role": "user", "content": "Text: ticket 0"},
    )
    assert [item.item["text"] for item in found.asked] == ["ticket 0", "ticket 1", "ticket 2"]


def test_each_run_becomes_a_round_that_pairs_with_new_rounds(tmp_path: Path) -> None:
    found = bring(tmp_path, saved(tmp_path / "saved"))
    first, items, results = found.round(0)
    second, _, _ = found.round(1)
    assert first.source == "OpenAI"
    assert first.status == "completed"
    assert first.created_at == 1_700_000_001
    assert [arm.name for arm in (*first.arms, *second.arms)] == ["gpt-4o-mini", "ft:x"]
    assert first.items_sha256 == second.items_sha256
    assert [item.id for item in items] == [item.id for item in found.asked]
    assert [result.passed for result in results] == [False, True, True]
    assert results[0].output == "b"


def test_scores_tokens_and_models_are_kept_and_latency_is_unknown(tmp_path: Path) -> None:
    _, _, results = bring(tmp_path, saved(tmp_path / "saved")).round()
    usage = results[0].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (10, 2, 4)
    assert results[0].timing is None
    assert results[0].model == "gpt-4o-mini-2024-07-18"
    assert [(s.value, s.credit, s.passed) for s in results[0].scores] == [
        (0.0, None, False),
        (4.0, 0.75, True),  # 4 of a range from 1 to 5
    ]


def test_an_answer_without_a_score_is_errored_and_one_that_never_came_is_unanswered(
    tmp_path: Path,
) -> None:
    lost = output_item("evalrun_a", 1, "")
    lost["results"], lost["sample"]["output"] = [], []
    lost["sample"]["error"] = {"code": "server_error", "message": "overloaded"}
    lost["sample"]["usage"] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    items = [output_item("evalrun_a", 0, "a", tone=None), lost]
    path = written(tmp_path / "all.jsonl", [EVAL, run("evalrun_a", "m", 5), *items])
    record, _, results = bring(tmp_path, path).round()
    assert [result.state for result in results] == ["errored", "unanswered"]
    assert results[1].reason == "overloaded"
    assert results[1].usage is None
    assert (record.totals.errored, record.totals.unanswered) == (1, 1)


def test_a_score_of_nan_is_no_score(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    item = json.dumps(output_item("evalrun_a", 0, "a", tone=float("nan")))
    path.write_text("\n".join([json.dumps(EVAL), json.dumps(run("evalrun_a", "m", 5)), item]))
    _, _, results = bring(tmp_path, path).round()
    assert results[0].state == "errored"
    assert results[0].value is None


def test_runs_with_different_prompts_pair_by_their_items(tmp_path: Path) -> None:
    other = copy.deepcopy(run("evalrun_b", "m", 9))
    other["data_source"]["input_messages"]["template"][1]["content"] = "Say: {{item.text}}"
    objects = [EVAL, run("evalrun_a", "m", 5), other]
    items = [output_item("evalrun_a", 0, "a"), output_item("evalrun_b", 0, "b")]
    found = bring(tmp_path, written(tmp_path / "all.jsonl", [*objects, *items]))
    assert found.round(0)[0].items_sha256 == found.round(1)[0].items_sha256
    assert found.asked[0].messages[1]["content"] == "Say: ticket 0"
    assert any("different prompts" in gap for gap in found.gaps)


def test_a_template_with_a_developer_message_is_filled_row_by_row(tmp_path: Path) -> None:
    asked = copy.deepcopy(run("evalrun_a", "m", 5))
    asked["data_source"]["input_messages"]["template"][0] = {
        "role": "developer",
        "content": "Be {{item.label}}.",
    }
    path = written(tmp_path / "all.jsonl", [EVAL, asked, output_item("evalrun_a", 0, "a")])
    found = bring(tmp_path, path)
    assert found.spec.evaluation.prompt is None
    assert found.asked[0].messages[0] == {"role": "developer", "content": "Be a."}
    assert found.asked[0].id == found.round()[1][0].id


def test_the_items_own_messages_are_asked_where_the_run_refers_to_them(tmp_path: Path) -> None:
    reference = {"type": "item_reference", "item_reference": "item.chat"}
    asked = run("evalrun_a", "m", 5, input_messages=reference)
    item = output_item("evalrun_a", 0, "a")
    item["datasource_item"] = {"chat": [{"role": "user", "content": "Hi?"}], "label": "a"}
    found = bring(tmp_path, written(tmp_path / "all.jsonl", [EVAL, asked, item]))
    assert found.asked[0].messages == ({"role": "user", "content": "Hi?"},)


def test_answers_of_the_data_stay_answers_of_the_data(tmp_path: Path) -> None:
    rows = [{"item": {"label": "a"}, "sample": {"output_text": "a"}}]
    source = {"type": "file_content", "content": rows}
    graded = {**run("evalrun_a", "m", 5), "data_source": {"type": "jsonl", "source": source}}
    found = bring(tmp_path, written(tmp_path / "all.jsonl", [EVAL, graded]))
    assert found.spec.models == ()
    assert found.asked[0].given == {"output_text": "a"}


def test_a_definition_with_rows_of_data_says_that_the_prompt_is_missing(tmp_path: Path) -> None:
    rows = [{"item": {"text": "one", "label": "a"}}]
    found = bring(tmp_path, written(tmp_path / "a.json", EVAL), written(tmp_path / "b.jsonl", rows))
    assert found.rows[0]["item"]["text"] == "one"
    assert any("write a `prompt`" in gap for gap in found.gaps)


def test_a_run_without_its_eval_becomes_a_round_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "items.json", [output_item("evalrun_a", 0, "a")])
    found = bring(tmp_path, path)
    record, _, results = found.round()
    assert found.kept.evals == ()
    assert [grader["name"] for grader in record.graders] == ["Match", "Tone"]
    assert results[0].passed
    assert any("'eval_1' is not among the files" in gap for gap in found.gaps)


def test_a_run_of_which_items_are_missing_is_not_complete(tmp_path: Path) -> None:
    asked = {**run("evalrun_a", "m", 5), "result_counts": {"total": 3}}
    path = written(tmp_path / "all.jsonl", [EVAL, asked, output_item("evalrun_a", 0, "a")])
    record, _, _ = bring(tmp_path, path).round()
    assert record.status == "stopped"
    assert record.reason == "the files hold 1 of 3 output items"


def test_a_grader_of_no_known_type_is_named_in_the_output_and_in_the_file(tmp_path: Path) -> None:
    strange = {
        **EVAL,
        "testing_criteria": [*EVAL["testing_criteria"], {"type": "endpoint", "name": "E"}],
    }
    objects = [strange, run("evalrun_a", "m", 5), output_item("evalrun_a", 0, "a")]
    found = bring(tmp_path, written(tmp_path / "all.jsonl", objects))
    assert any("grader 'E' of type 'endpoint'" in gap for gap in found.gaps)
    assert "# not taken over: grader 'E'" in found.kept.evals[0].read_text()
    assert len(found.spec.evaluation.graders) == 2


def test_the_dashboards_rows_become_rounds_and_say_what_they_lack(tmp_path: Path) -> None:
    row = {
        "run_id": "evalrun_x",
        "data_source_idx": 1,
        "item": {"input": "Hi"},
        "grades": {"Match": 1.0, "Tone": 0.4},
        "passes": {"Match": True, "Tone": False},
        "sample": {"outputs": [{"role": "assistant", "content": "Hello"}]},
    }
    second = {**row, "data_source_idx": 0, "item": {"input": "Bye"}, "grades": {"Match": 0.5}}
    found = bring(tmp_path, written(tmp_path / "export.jsonl", [row, second]))
    record, items, results = found.round()
    assert found.kept.evals == ()
    assert any("no prompts, models and graders" in gap.replace("carry ", "") for gap in found.gaps)
    assert [item.item["input"] for item in items] == ["Bye", "Hi"]
    assert [grader["name"] for grader in record.graders] == ["Match", "Tone"]
    assert [result.state for result in results] == ["errored", "scored"]
    assert [score.passed for score in results[1].scores] == [True, False]
    assert results[1].output == "Hello"


def test_equal_items_get_different_ids_and_a_field_can_name_them(tmp_path: Path) -> None:
    items = [output_item("evalrun_a", n, "a") for n in (0, 1)]
    for number, item in enumerate(items):
        item["datasource_item"] = {"text": "same", "label": "a"}
        item["datasource_item"] |= {"key": f"k{number}"} if number else {"key": "k0"}
    objects = [EVAL, run("evalrun_a", "m", 5), *items]
    found = bring(tmp_path, written(tmp_path / "all.jsonl", objects), id_field="key")
    assert [item.id for item in found.round()[1]] == ["k0", "k1"]
    assert [item.id for item in found.asked] == ["k0", "k1"]
    for item in items:
        item["datasource_item"] = {"text": "same", "label": "a"}
    again = bring(
        tmp_path / "b", written(tmp_path / "same.jsonl", [EVAL, run("evalrun_a", "m", 5), *items])
    )
    ids = [item.id for item in again.round()[1]]
    assert ids[1] == f"{ids[0]}-2"
    assert [item.id for item in again.asked] == ids


def test_the_same_import_again_writes_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path / "saved")
    first, second = bring(tmp_path, path), bring(tmp_path, path)
    assert first.kept == second.kept
    assert first.round()[0] == second.round()[0]


def test_an_eval_file_that_was_changed_is_not_written_over(tmp_path: Path) -> None:
    path = saved(tmp_path / "saved")
    changed = bring(tmp_path, path).kept.evals[0]
    changed.write_text(changed.read_text() + "\n# mine\n")
    with pytest.raises(InvalidInput, match="--force"):
        bring(tmp_path, path)
    assert changed.read_text().endswith("# mine\n")


def test_one_name_for_several_evals_is_refused(tmp_path: Path) -> None:
    other = {**EVAL, "id": "eval_2", "name": "Other"}
    objects = [EVAL, other, run("evalrun_a", "m", 5), output_item("evalrun_a", 0, "a")]
    with pytest.raises(InvalidInput, match="hold 2 evals"):
        bring(tmp_path, written(tmp_path / "all.jsonl", objects), name="mine")
