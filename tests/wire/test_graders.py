"""Graders by the official client, with strict response validation."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.fine_tuning.alpha import GraderRunResponse
from tests.wire.conftest import Server
from tests.wire.test_openapi_hostile import asked, assert_refused

from selftune.store.store import Store

pytestmark = pytest.mark.xdist_group("server")

ITEM = {"label": "Yes", "truth": "The cat sat on the mat."}
CHECK = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.label}}",
    "operation": "eq",
}
ALIKE = {
    "type": "text_similarity",
    "name": "alike",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.truth }}",
    "evaluation_metric": "rouge_l",
}
PYTHON = {
    "type": "python",
    "name": "program",
    "source": "def grade(sample, item):\n    return len(sample['output_text']) / 4\n",
    "image_tag": "2025-05-08",
}
JUDGED = "Is it good? Yes"
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "input": [{"role": "user", "content": "Is it good? {{sample.output_text}}"}],
}
MULTI = {
    "type": "multi",
    "name": "both",
    "graders": {"same": CHECK, "near": ALIKE | {"name": None}},
    "calculate_output": "0.5 * same + 0.5 * max(near, same)",
}


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=server.key, _strict_response_validation=True)


@pytest.fixture(scope="module")
def judge(client: OpenAI) -> str:
    """A model that has learned by heart how to judge."""
    reply = json.dumps({"steps": [], "result": 0.75})
    chat = [{"role": "user", "content": JUDGED}, {"role": "assistant", "content": reply}]
    row = json.dumps({"messages": chat}) + "\n"
    file = client.files.create(file=("judge.jsonl", row.encode() * 10), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="selftune/fake", training_file=file.id)
    deadline = time.monotonic() + 60
    while job.fine_tuned_model is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return job.fine_tuned_model


def run(client: OpenAI, grader: Any, sample: str = "Yes", item: Any = None) -> GraderRunResponse:
    return client.fine_tuning.alpha.graders.run(
        grader=grader, model_sample=sample, item=ITEM if item is None else item
    )


def flags(found: GraderRunResponse) -> set[str]:
    """Return the names of the flags that are up."""
    return {name for name, flag in found.metadata.errors.to_dict().items() if flag is True}


def refused(client: OpenAI, grader: Any) -> dict[str, Any]:
    with pytest.raises(BadRequestError) as error:
        client.fine_tuning.alpha.graders.validate(grader=grader)
    with pytest.raises(BadRequestError):
        run(client, grader)
    body = error.value.body
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize("grader", [CHECK, ALIKE, PYTHON, JUDGE | {"model": "gpt-4o"}])
def test_a_grader_is_valid(client: OpenAI, grader: Any) -> None:
    found = client.fine_tuning.alpha.graders.validate(grader=grader).grader
    assert found is not None
    assert found.to_dict() == grader


@pytest.mark.parametrize(
    "graders", [{"a": CHECK, "b": ALIKE}, [CHECK | {"name": "a"}, ALIKE | {"name": "b"}]]
)
def test_graders_of_a_formula_are_a_map_or_a_list(server: Server, graders: Any) -> None:
    lenient = OpenAI(base_url=server.base_url, api_key=server.key)
    grader = MULTI | {"graders": graders, "calculate_output": "a + b"}
    answered = lenient.fine_tuning.alpha.graders.with_raw_response.validate(
        grader=grader  # type: ignore[arg-type]
    )
    assert json.loads(answered.text) == {"grader": grader}


def test_graders_of_a_formula_may_be_one(client: OpenAI) -> None:
    grader = MULTI | {"graders": CHECK, "calculate_output": "same * 2"}
    assert client.fine_tuning.alpha.graders.validate(grader=grader).grader is not None  # type: ignore[arg-type]
    assert run(client, grader).reward == 2.0


@pytest.mark.parametrize(
    ("grader", "param", "code"),
    [
        ({}, "grader.name", "missing_required_parameter"),
        ({"type": "endpoint", "name": "x", "url": "http://x"}, "grader.type", "invalid_value"),
        ({"type": "regex", "name": "x", "pattern": "(a+)+$"}, "grader.type", "invalid_value"),
        (CHECK | {"name": None}, "grader.name", "missing_required_parameter"),
        (CHECK | {"operation": None}, "grader.operation", "missing_required_parameter"),
        (CHECK | {"operation": "is"}, "grader.operation", "invalid_value"),
        (CHECK | {"reference": "{{ label }}"}, "grader.reference", "invalid_value"),
        (ALIKE | {"evaluation_metric": "magic"}, "grader.evaluation_metric", "invalid_value"),
        (PYTHON | {"source": "x = 1"}, "grader.source", "invalid_value"),
        (JUDGE | {"model": "m", "range": [1, 0]}, "grader.range", "invalid_value"),
        (MULTI | {"graders": {"a": MULTI}}, "grader.graders", "invalid_value"),
        (MULTI | {"graders": {"a": {"type": "x"}}}, "grader.type", "invalid_value"),
    ],
)
def test_what_is_no_grader_is_refused(client: OpenAI, grader: Any, param: str, code: str) -> None:
    body = refused(client, grader)
    assert (body["param"], body["code"]) == (param, code)


def test_a_formula_that_cannot_be_read(client: OpenAI) -> None:
    grader: Any = MULTI | {"graders": CHECK, "calculate_output": "same + ("}
    with pytest.raises(BadRequestError, match="cannot be read"):
        client.fine_tuning.alpha.graders.validate(grader=grader)
    found = run(client, grader)
    assert (found.reward, flags(found)) == (0.0, {"formula_parse_error"})


@pytest.mark.parametrize(("sample", "reward"), [("Yes", 1.0), ("No", 0.0)])
def test_a_check_rewards(client: OpenAI, sample: str, reward: float) -> None:
    found = run(client, CHECK, sample)
    assert (found.reward, flags(found)) == (reward, set())
    assert (found.metadata.name, found.metadata.type) == ("same", "string_check")
    assert found.metadata.scores == {"same": reward}
    assert found.metadata.execution_time >= 0
    assert found.sub_rewards == {}


def test_fields_that_nobody_knows_are_ignored(client: OpenAI) -> None:
    assert run(client, CHECK | {"x": 1, "pass_threshold": 0.5}).reward == 1.0


def test_a_formula_rewards_and_shows_its_parts(client: OpenAI) -> None:
    found = run(client, MULTI, "The cat sat on a mat.")
    assert found.sub_rewards["same"] == 0.0
    assert found.sub_rewards["near"] == pytest.approx(5 / 6)
    assert found.reward == pytest.approx(0.5 * 5 / 6)


def test_vectors_are_of_the_embedded_model(client: OpenAI) -> None:
    grader = ALIKE | {"evaluation_metric": "cosine"}
    found = run(client, grader, ITEM["truth"])
    if flags(found):
        pytest.skip("the embedded model is not installed here")
    assert found.reward == pytest.approx(1.0, abs=1e-4)
    assert run(client, grader, "Interest rates rose.").reward < 0.5


def test_the_embedded_base_chooses_labels_by_their_meaning(client: OpenAI) -> None:
    labels = ["positive", "negative"]
    system = {"role": "system", "content": "What is the mood of the statement?"}
    user = {"role": "user", "content": {"type": "input_text", "text": "{{ item.statement }}"}}
    grader: dict[str, Any] = {"type": "label_model", "name": "mood", "model": "gpt-4o-2024-08-06"}
    grader |= {"input": [system, user], "labels": labels, "passing_labels": ["positive"]}
    for statement, reward in (("I love it, wonderful!", 1.0), ("It is terrible, I hate it.", 0.0)):
        found = run(client, grader, item={"statement": statement})
        if "model_grader_server_error" in flags(found):
            pytest.skip("the embedded model is not installed here")
        assert (found.reward, flags(found)) == (reward, set())


@pytest.mark.parametrize(
    ("field", "sample"),
    [("{{ item.nothing }}", "Yes"), ("{{ sample.output_json.a }}", "not JSON")],
)
def test_a_missing_variable_is_a_flag_and_no_reward(
    client: OpenAI, field: str, sample: str
) -> None:
    found = run(client, CHECK | {"reference": field}, sample)
    assert (found.reward, flags(found)) == (0.0, {"invalid_variable_error"})


def test_a_sample_that_is_json_is_read(client: OpenAI) -> None:
    grader = CHECK | {"input": "{{ sample.output_json.a.b[0] }}"}
    assert run(client, grader, '{"a": {"b": ["Yes"]}}').reward == 1.0


def test_a_model_judges(client: OpenAI, judge: str) -> None:
    found = run(client, JUDGE | {"model": judge})
    assert (found.reward, flags(found)) == (0.75, set())
    assert found.metadata.sampled_model_name == judge
    usage = found.api_model_grader_token_usage_per_model[judge]
    assert isinstance(usage, dict)
    assert usage["total_tokens"] == found.metadata.token_usage
    assert usage["prompt_tokens"] > 0


def test_a_model_that_says_no_number_or_is_not_there(client: OpenAI, judge: str) -> None:
    found = run(client, JUDGE | {"model": judge}, "Something else")
    assert (found.reward, flags(found)) == (0.0, {"model_grader_parse_error"})
    found = run(client, JUDGE | {"model": "nobody"})
    assert flags(found) == {"model_grader_server_error"}
    assert "`nobody` does not exist" in str(
        found.metadata.errors.api_model_grader_server_error_details
    )
    hot = run(client, JUDGE | {"model": judge, "sampling_params": {"temperature": 99}})
    assert flags(hot) <= {"model_grader_server_error"}


def test_a_program_grades_in_a_sandbox_or_not_at_all(client: OpenAI) -> None:
    found = run(client, PYTHON)
    if shutil.which("bwrap") is None:
        assert flags(found) == {"python_grader_server_error"}
        assert found.metadata.errors.python_grader_server_error_type == "sandbox_unavailable"
        return
    assert (found.reward, flags(found)) == (0.75, set())
    broken = run(client, PYTHON | {"source": "def grade(sample, item):\n    return 1 / 0"})
    assert (broken.reward, flags(broken)) == (0.0, {"python_grader_runtime_error"})
    assert "ZeroDivisionError" in str(broken.metadata.errors.python_grader_runtime_error_details)


def test_the_name_of_the_item_before_there_were_items(client: OpenAI) -> None:
    found = client.fine_tuning.alpha.graders.run(
        grader=CHECK | {"reference": "{{ item.reference_answer }}"},  # type: ignore[arg-type]
        model_sample="Yes",
        extra_body={"reference_answer": "Yes"},
    )
    assert found.reward == 1.0


HUGE = 10**30
DEEP = "[" * 600 + "]" * 600


@pytest.mark.parametrize("extra", [str(HUGE), DEEP, '"\\ud800"', "1e999"])
def test_what_cannot_be_echoed_is_refused(store: Store, extra: str) -> None:
    body = json.dumps({"grader": CHECK | {"x": 0}}).replace('"x": 0', f'"x": {extra}')
    path = "fine_tuning/alpha/graders/validate"
    assert_refused(asked(store, "POST", path, content=body.encode()), 400)


@pytest.mark.parametrize(
    "grader",
    [
        CHECK | {"type": []},
        CHECK | {"input": []},
        MULTI | {"graders": [1]},
        MULTI | {"graders": []},
        MULTI | {"graders": {"a": CHECK | {"type": {}}}},
        JUDGE | {"model": "m", "sampling_params": []},
        JUDGE | {"model": "m", "input": "x"},
        CHECK | {"reference": "{{ item" + ".a" * 20_000 + " }}"},
    ],
)
def test_graders_of_odd_shapes_are_refused(store: Store, grader: Any) -> None:
    for path in ("validate", "run"):
        body = {"grader": grader, "model_sample": "a"}
        refusal = asked(store, "POST", f"fine_tuning/alpha/graders/{path}", json=body)
        assert_refused(refusal, 400)


@pytest.mark.parametrize(
    ("grader", "sample"),
    [
        (JUDGE | {"model": "ft:\0"}, "a"),
        (JUDGE | {"model": "m", "input": [{"content": {"type": "input_audio"}}]}, "a"),
        (JUDGE | {"model": "m", "input": [{"content": {"type": "input_image"}}]}, "a"),
        (CHECK, "[" * 100_000),
        (CHECK, "\0"),
        (PYTHON | {"source": "def grade(s, i): raise Exception('\\ud800')"}, "a"),
    ],
)
def test_odd_texts_are_graded_or_flagged(any_store: Store, grader: Any, sample: str) -> None:
    body = {"grader": grader, "model_sample": sample, "item": {"label": HUGE}}
    path = "fine_tuning/alpha/graders/run"
    reply = asked(any_store, "POST", path, content=json.dumps(body).encode())
    assert reply.status_code == 200, reply.text
    assert reply.json()["reward"] == 0.0


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "grade-answers.md"


def test_the_programs_of_the_page_on_graders_print_what_it_says(server: Server) -> None:
    programs = re.findall(r"^```py\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-c", "\n".join(programs)]
    run = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, check=True, timeout=60
    )
    first, *rest = run.stdout.splitlines()
    assert re.fullmatch(r"1\.0 \{'same': 1\.0, 'near': 0\.9\d+\}", first)
    assert rest == ["0.5", "0.25", "the answer has no number"]
