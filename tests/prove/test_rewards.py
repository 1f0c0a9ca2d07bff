"""What answers of a model in training are worth, by graders that compute and graders that ask."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.wire.model_stub import name_models, playing

from selftune.core.errors import InvalidInput, JobFailed
from selftune.prove.backing import backing_of
from selftune.prove.rewards import Rewards, check_grader
from selftune.store.accounts import default_identity
from selftune.store.store import Store
from selftune.train.engine import Reward, Sampled

JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "hosted",
    "input": [{"role": "user", "content": "How good is {{ sample.output_text }}?"}],
    "range": [0, 10],
}


def said(text: str, **item: Any) -> Sampled:
    return Sampled(item=item, text=text, message={"role": "assistant", "content": text})


def graded(
    store: Store, log: Path, grader: dict[str, Any], texts: list[str], form: str = "text"
) -> list[Reward]:
    with Rewards(backing_of(store, default_identity(store)), grader, log, form) as rewards:
        return rewards.grade([said(text, wanted="b") for text in texts])


def points(body: dict[str, Any]) -> str:
    text = body["messages"][-1]["content"]
    return json.dumps({"steps": [], "result": 7.0 if "good b" in text else 2.0})


def test_a_model_judges_and_is_asked_only_once(store: Store, tmp_path: Path) -> None:
    with playing(points) as stub:
        name_models(store.root, stub, "hosted")
        for _ in range(2):
            found = graded(store, tmp_path / "log", JUDGE, ["bad a", "good b"])
            assert [reward.value for reward in found] == [2.0, 7.0]
        assert stub.asked.total() == 2


def test_a_judge_that_talks_nonsense_is_no_zero(store: Store, tmp_path: Path) -> None:
    with playing(lambda _: "hm") as stub:
        name_models(store.root, stub, "hosted")
        (found,) = graded(store, tmp_path / "log", JUDGE, ["a"])
    assert (found.value, found.error) == (None, "model_grader_parse_error")


def test_a_judge_that_refuses_the_key_fails_the_job(store: Store, tmp_path: Path) -> None:
    with playing(lambda _: 401) as stub:
        name_models(store.root, stub, "hosted")
        with pytest.raises(JobFailed) as failed:
            graded(store, tmp_path / "log", JUDGE, ["a"])
    assert failed.value.code == "model_grader_server_error"


def test_scores_inside_a_formula_are_told_by_name(store: Store, tmp_path: Path) -> None:
    exact = {"type": "string_check", "reference": "{{ item.wanted }}", "operation": "eq"}
    grader = {
        "type": "multi",
        "graders": {"judge": JUDGE, "exact": exact},
        "calculate_output": "judge / 10 + exact",
    }
    with playing(points) as stub:
        name_models(store.root, stub, "hosted")
        (found,) = graded(store, tmp_path / "log", grader, ["good b"])
    assert found.value == pytest.approx(0.7)
    assert found.scores == {"judge": 7.0, "exact": 0.0}


def test_an_answer_that_is_not_of_the_format_is_named_so(store: Store, tmp_path: Path) -> None:
    grader = {"type": "string_check", "reference": "1", "operation": "like"}
    whole, cut = graded(store, tmp_path / "log", grader, ['{"a": 1}', '{"a": 1'], "json_object")
    assert whole.value == 1.0
    assert (cut.value, cut.error) == (None, "sample_parse_error")


def test_a_judge_that_nobody_knows_is_refused_before_the_job(store: Store) -> None:
    with pytest.raises(InvalidInput, match="asks the model 'hosted'"):
        check_grader(store, default_identity(store), JUDGE)
    check_grader(store, default_identity(store), JUDGE | {"model": "selftune/fake"})
