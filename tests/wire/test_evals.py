"""A program that used OpenAI's hosted Evals, against a real server, with the official client.

Models that are answered elsewhere are played by an endpoint of the tests. Responses are validated
strictly, and once more loosely, as most programs have it.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.evals import RunRetrieveResponse
from openai.types.evals.runs import OutputItemListResponse
from tests.wire.conftest import Server
from tests.wire.model_stub import ModelStub, name_models, playing

pytestmark = pytest.mark.xdist_group("server")

CAPITALS = {"France": "Paris", "Peru": "Lima", "Chad": "N'Djamena", "Atlantis": "nowhere"}
ITEMS = [{"country": country, "capital": capital} for country, capital in CAPITALS.items()]
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"country": {"type": "string"}, "capital": {"type": "string"}},
    "required": ["country", "capital"],
}
SAME = {
    "type": "string_check",
    "name": "right capital",
    "input": "{{ sample.output_text }}",
    "operation": "ilike",
    "reference": "{{ item.capital }}",
}
PRAISE = {
    "type": "score_model",
    "name": "politeness",
    "model": "judge",
    "input": [
        {"role": "developer", "content": "How polite is the answer, from 1 to 7?"},
        {"role": "user", "content": "Answer: {{ sample.output_text }}"},
    ],
    "range": [1, 7],
    "pass_threshold": 5,
    "sampling_params": {"temperature": 0, "max_completions_tokens": 200},
}
TONE = {
    "type": "label_model",
    "name": "tone",
    "model": "judge",
    "input": [
        {"role": "user", "content": {"type": "input_text", "text": "{{ sample.output_text }}"}}
    ],
    "labels": ["friendly", "rude"],
    "passing_labels": ["friendly"],
}
SHORT = {
    "type": "python",
    "name": "short",
    "source": "def grade(sample, item):\n    return 1.0 if len(sample['output_text']) < 60 else 0.0",
    "pass_threshold": 0.5,
}
ASK: dict[str, Any] = {
    "type": "template",
    "template": [
        {"role": "developer", "content": "You know geography."},
        {
            "type": "message",
            "role": "user",
            "content": {"type": "input_text", "text": "Capital of {{ item.country }}?"},
        },
    ],
}
OVER = ("completed", "failed", "canceled")


def hosted(body: dict[str, Any]) -> str | int:
    """Play three models: one that knows, one that does not, and one that judges."""
    asked = str(body["messages"][-1]["content"])
    if body["model"] == "judge":
        schema = body["response_format"]["json_schema"]["schema"]
        if "enum" in schema["properties"]["result"]:
            return json.dumps({"result": "rude" if "Hmpf" in asked else "friendly"})
        return json.dumps({"steps": [], "result": 2 if "Hmpf" in asked else 6.5})
    if "response_format" in body:
        return json.dumps({"capital": "Lima"})
    if "Atlantis" in asked:
        return 400
    country = asked.removeprefix("Capital of ").removesuffix("?")
    if body["model"] == "knows":
        return f"Gladly: it is {CAPITALS.get(country, 'unknown')}."
    return "Hmpf, Paris."


@pytest.fixture(scope="module")
def stub() -> Iterator[ModelStub]:
    with playing(hosted) as played:
        yield played


@pytest.fixture(scope="module")
def serving(start_server: Callable[..., Server], stub: ModelStub) -> Server:
    server = start_server()
    name_models(server.home, stub, "knows", "guesses", "judge")
    return server


@pytest.fixture(params=["strict", "loose"])
def client(request: pytest.FixtureRequest, serving: Server) -> OpenAI:
    return OpenAI(
        base_url=serving.base_url,
        api_key=serving.key,
        _strict_response_validation=request.param == "strict",
    )


@pytest.fixture
def strict(serving: Server) -> OpenAI:
    return OpenAI(base_url=serving.base_url, api_key=serving.key, _strict_response_validation=True)


def new_eval(client: OpenAI, *criteria: Any) -> str:
    return client.evals.create(
        name="capitals",
        data_source_config={"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True},
        testing_criteria=criteria,
        metadata={"team": "maps"},
    ).id


def asking(model: str, *items: Any, **more: Any) -> Any:
    content = [{"item": item} for item in items or ITEMS]
    source = {"type": "file_content", "content": content}
    return {"type": "completions", "model": model, "source": source, "input_messages": ASK} | more


def given(*texts: str) -> Any:
    content = [{"item": ITEMS[0], "sample": {"output_text": text}} for text in texts]
    return {"type": "jsonl", "source": {"type": "file_content", "content": content}}


def uploaded(client: OpenAI, data: bytes, purpose: Any) -> Any:
    """Upload rows. The SDK's own type of a file does not know the purpose `evals`."""
    loose = client.with_options(_extra_kwargs={"_strict_response_validation": False})
    file = loose.files.create(file=("rows.jsonl", data), purpose=purpose)
    return {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}


def poll(client: OpenAI, eval_id: str, run_id: str) -> RunRetrieveResponse:
    """Wait as the notebooks do."""
    deadline = time.monotonic() + 60
    while True:
        run = client.evals.runs.retrieve(run_id, eval_id=eval_id)
        if run.status not in ("queued", "in_progress"):
            return run
        assert time.monotonic() < deadline, run
        time.sleep(0.1)


def run_of(client: OpenAI, eval_id: str, source: Any, **more: Any) -> RunRetrieveResponse:
    return poll(client, eval_id, client.evals.runs.create(eval_id, data_source=source, **more).id)


def items_of(client: OpenAI, run: RunRetrieveResponse) -> list[OutputItemListResponse]:
    """Return all items by their rows; pages are small, so that there are some."""
    found = client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, limit=2)
    return sorted(found, key=lambda item: item.datasource_item_id)


def counts(run: RunRetrieveResponse) -> tuple[int, int, int]:
    found = run.result_counts
    assert found.total == found.passed + found.failed + found.errored
    return found.passed, found.failed, found.errored


def test_two_models_are_compared_on_a_template(client: OpenAI, stub: ModelStub) -> None:
    eval_id = new_eval(client, SAME, PRAISE, TONE)
    knows, guesses = (
        run_of(client, eval_id, asking(model), name=model, metadata={"of": model})
        for model in ("knows", "guesses")
    )
    assert (knows.status, knows.model, knows.name) == ("completed", "knows", "knows")
    assert counts(knows) == (3, 0, 1)
    assert counts(guesses) == (0, 3, 1)
    by_name = {
        found.testing_criteria.rpartition("-")[0].rsplit("-", 4)[0]: (found.passed, found.failed)
        for found in guesses.per_testing_criteria_results
    }
    assert by_name == {"right capital": (1, 2), "politeness": (0, 3), "tone": (0, 3)}
    usage = {found.run_model_name: found for found in knows.per_model_usage}
    assert usage["knows"].invocation_count == 3
    assert usage["knows"].total_tokens == 30
    assert usage["judge"].invocation_count == 6
    listed = client.evals.runs.list(eval_id)
    assert [run.id for run in listed] == [knows.id, guesses.id]


def test_an_output_item_has_all_that_programs_read(strict: OpenAI) -> None:
    run = run_of(
        strict,
        new_eval(strict, SAME, PRAISE),
        asking("knows", sampling_params={"temperature": 0.5, "max_completions_tokens": 50}),
    )
    first, *_, atlantis = items_of(strict, run)
    assert first.status == "pass"
    assert first.datasource_item == ITEMS[0]
    assert [(message.role, message.content) for message in first.sample.input] == [
        ("developer", "You know geography."),
        ("user", "Capital of France?"),
    ]
    assert first.sample.output[0].content == "Gladly: it is Paris."
    assert (first.sample.finish_reason, first.sample.model) == ("stop", "knows")
    assert (first.sample.temperature, first.sample.max_completion_tokens) == (0.5, 50)
    assert (first.sample.seed, first.sample.top_p) == (42, 1.0)
    assert first.sample.usage.total_tokens == 10
    assert [(found.score, found.passed, found.type) for found in first.results] == [
        (1.0, True, "string_check"),
        (6.5, True, "score_model"),
    ]
    assert first.results[0].name.startswith("right capital-")
    assert (atlantis.status, atlantis.results) == ("error", [])
    assert atlantis.sample.error.code == "rejected"
    failed = strict.evals.runs.output_items.list(run.id, eval_id=run.eval_id, status="fail")
    assert list(failed) == []
    same = strict.evals.runs.output_items.retrieve(first.id, eval_id=run.eval_id, run_id=run.id)
    assert same.to_dict() == first.to_dict()


def test_answers_that_are_in_the_data_are_graded(client: OpenAI, stub: ModelStub) -> None:
    stub.asked.clear()
    run = run_of(client, new_eval(client, SAME), given("Paris", "paris it is", "Rome"))
    assert counts(run) == (2, 1, 0)
    assert (run.model, run.per_model_usage) == ("", [])
    assert not stub.asked
    assert [item.sample.output[0].content for item in items_of(client, run)][2] == "Rome"


@pytest.mark.parametrize("purpose", ["evals", "fine-tune", "user_data"])
def test_rows_come_from_a_file(strict: OpenAI, purpose: Any) -> None:
    lines = [json.dumps({"item": item, "sample": {"output_text": "Lima"}}) for item in ITEMS]
    lines.insert(1, "no JSON")
    lines.insert(2, json.dumps({"item": {"country": 1}}))
    data = "\n".join(lines).encode()
    source = uploaded(strict, data, purpose)
    run = run_of(strict, new_eval(strict, SAME), source)
    assert (run.status, counts(run)) == ("completed", (1, 3, 2))
    bad, misfit = items_of(strict, run)[1:3]
    assert "not JSON" in bad.sample.error.message
    assert "item_schema" in misfit.sample.error.message


@pytest.mark.parametrize(
    "content", [b"\n", b"a,b\n1,2\n", b"[]\n" * 30], ids=["empty", "csv", "lists"]
)
def test_a_file_without_rows_fails_the_run(strict: OpenAI, content: bytes) -> None:
    source = uploaded(strict, content, "evals")
    run = run_of(strict, new_eval(strict, SAME), source)
    assert run.status == "failed"
    assert source["source"]["id"] in run.error.message
    assert run.error.code in ("empty_data_source", "invalid_data_source")


def test_a_run_whose_every_item_errors_completes(strict: OpenAI) -> None:
    run = run_of(strict, new_eval(strict, SAME), asking("knows", ITEMS[3], ITEMS[3]))
    assert (run.status, counts(run)) == ("completed", (0, 0, 2))
    assert [(r.passed, r.failed) for r in run.per_testing_criteria_results] == [(0, 0)]


def test_a_criterion_that_cannot_judge_makes_the_item_errored_not_failed(strict: OpenAI) -> None:
    lost = SAME | {"name": "lost", "reference": "{{ item.nothing }}"}
    run = run_of(strict, new_eval(strict, SAME, lost), given("Paris"))
    assert (run.status, counts(run)) == ("completed", (0, 0, 1))
    [item] = items_of(strict, run)
    fine, broken = item.results
    assert (fine.passed, broken.passed, broken.score) == (True, False, 0.0)
    assert broken.sample is not None
    assert broken.sample["error"]["code"] == "invalid_variable_error"  # type: ignore[index]


def test_an_item_passes_only_if_every_criterion_does(strict: OpenAI) -> None:
    other = SAME | {"name": "long", "reference": "very"}
    run = run_of(strict, new_eval(strict, SAME, other), given("Paris", "Paris, very much"))
    assert [item.status for item in items_of(strict, run)] == ["fail", "pass"]


def test_a_program_of_the_users_grades(strict: OpenAI) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here")
    run = run_of(strict, new_eval(strict, SHORT), given("Paris", "Paris" * 20))
    assert [item.results[0].score for item in items_of(strict, run)] == [1.0, 0.0]


def test_an_item_has_the_messages_and_the_answer_a_shape(strict: OpenAI, stub: ModelStub) -> None:
    made = strict.evals.create(
        data_source_config={"type": "custom", "item_schema": {}, "include_sample_schema": True},
        testing_criteria=[
            SAME | {"input": "{{ sample.output_json.capital }}", "reference": "Lima"}  # type: ignore[list-item]
        ],
    )
    history = [
        {"role": "user", "content": [{"type": "input_text", "text": "Peru {{ literally }}?"}]},
        {"role": "assistant", "content": "What of it?"},
        {"role": "user", "content": "Its capital."},
    ]
    shape = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}
    source: Any = {
        "type": "responses",
        "model": "knows",
        "source": {"type": "file_content", "content": [{"item": {"chat": history}}]},
        "input_messages": {"type": "item_reference", "item_reference": "item.chat"},
        "sampling_params": {"text": {"format": shape}, "reasoning_effort": "low", "seed": 3},
    }
    run = run_of(strict, made.id, source)
    assert counts(run) == (1, 0, 0)
    body = stub.bodies[-1]
    assert body["messages"][0] == {"role": "user", "content": "Peru {{ literally }}?"}
    assert body["response_format"]["json_schema"]["name"] == "answer"
    assert (body["reasoning_effort"], body["seed"]) == ("low", 3)


def test_what_was_stored_is_graded_and_asked_again(strict: OpenAI, serving: Server) -> None:
    stored = {"use": f"capitals-{time.time_ns()}"}
    for _ in range(3):
        strict.chat.completions.create(
            model="selftune/fake",
            messages=[{"role": "user", "content": "Capital of Peru?"}],
            store=True,
            metadata=stored,
        )
    config: Any = {"type": "logs", "metadata": stored}
    criteria: Any = [SAME | {"reference": "Lima"}]
    made = strict.evals.create(data_source_config=config, testing_criteria=criteria)
    kept: Any = {"type": "stored_completions", "limit": 2}
    graded = run_of(strict, made.id, {"type": "completions", "source": kept})
    assert (graded.status, counts(graded)) == ("completed", (0, 2, 0))
    again: Any = {
        "type": "completions",
        "model": "knows",
        "source": {"type": "stored_completions", "metadata": stored},
        "input_messages": {"type": "item_reference", "item_reference": "item.input"},
    }
    asked = run_of(strict, made.id, again)
    assert (asked.model, counts(asked)) == ("knows", (3, 0, 0))
    nothing: Any = {"type": "stored_completions", "metadata": {"use": "no"}}
    none = run_of(strict, made.id, {"type": "completions", "source": nothing})
    assert (none.status, none.error.code) == ("failed", "empty_data_source")


def test_stored_responses_are_graded(strict: OpenAI) -> None:
    mark = f"responses-{time.time_ns()}"
    try:
        strict.responses.create(
            model="selftune/fake", input="Capital?", instructions=f"Be {mark}.", store=True
        )
    except NotFoundError:
        pytest.skip("this server has no /v1/responses")
    config: Any = {"type": "logs"}
    criteria: Any = [SAME | {"input": "{{ item.instructions }}", "reference": mark}]
    made = strict.evals.create(data_source_config=config, testing_criteria=criteria)
    source: Any = {"type": "responses", "instructions_search": mark}
    run = run_of(strict, made.id, {"type": "responses", "source": source})
    assert (run.status, counts(run)) == ("completed", (1, 0, 0))


def test_a_model_of_this_server_is_evaluated(strict: OpenAI) -> None:
    run = run_of(strict, new_eval(strict, SAME), asking("selftune/fake", ITEMS[0]))
    assert (run.status, run.result_counts.total, run.result_counts.errored) == ("completed", 1, 0)
    assert run.per_model_usage[0].run_model_name == "selftune/fake"


def test_the_embedded_base_chooses_labels(strict: OpenAI) -> None:
    moods = ["positive", "negative"]
    judge = TONE | {"model": "gpt-4o", "labels": moods, "passing_labels": moods[:1]}
    run = run_of(strict, new_eval(strict, judge), given("I love it!", "It is terrible."))
    if "not installed" in str(items_of(strict, run)[0].results[0].sample):
        pytest.skip("the embedded model is not installed here")
    assert [item.status for item in items_of(strict, run)] == ["pass", "fail"]


def test_a_running_run_is_canceled_and_deleted(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    strict = OpenAI(base_url=server.base_url, api_key=server.key, _strict_response_validation=True)
    with strict, playing(hosted, seconds=0.5) as slow:
        name_models(server.home, slow, "knows")
        eval_id = new_eval(strict, SAME)
        rows = [{"country": str(n), "capital": "x"} for n in range(2000)]
        runs = [strict.evals.runs.create(eval_id, data_source=asking("knows", *rows))]
        until(lambda: strict.evals.runs.retrieve(runs[0].id, eval_id=eval_id).result_counts.total)
        canceled = strict.evals.runs.cancel(runs[0].id, eval_id=eval_id)
        assert canceled.status == "canceled"
        before = canceled.result_counts.total
        assert 0 < before < 2000
        until_quiet(slow)
        after = strict.evals.runs.retrieve(runs[0].id, eval_id=eval_id)
        assert (after.status, after.result_counts.total) == ("canceled", before)
        assert after.per_testing_criteria_results[0].passed == 0
        runs.append(strict.evals.runs.create(eval_id, data_source=asking("knows", *rows)))
        until(lambda: strict.evals.runs.retrieve(runs[1].id, eval_id=eval_id).result_counts.total)
        assert strict.evals.delete(eval_id).object == "eval.deleted"
        until_quiet(slow)
        with pytest.raises(NotFoundError):
            strict.evals.retrieve(eval_id)
        assert counts(run_of(strict, new_eval(strict, SAME), given("Paris"))) == (1, 0, 0)


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until_quiet(stub: ModelStub) -> None:
    """Return when an endpoint was not asked for a while."""
    deadline, seen = time.monotonic() + 30, -1
    while seen != stub.asked.total():
        assert time.monotonic() < deadline
        seen = stub.asked.total()
        time.sleep(2)


def test_a_run_of_an_unknown_model_is_refused(strict: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="does not exist or you do not have access"):
        strict.evals.runs.create(new_eval(strict, SAME), data_source=asking("nobody"))


def test_a_judge_that_nobody_named_is_not_asked_elsewhere(strict: OpenAI) -> None:
    run = run_of(strict, new_eval(strict, TONE | {"model": "gpt-99"}), given("Paris"))
    assert counts(run) == (0, 0, 1)
    [item] = items_of(strict, run)
    assert item.results[0].sample is not None
    assert "gpt-99" in str(item.results[0].sample["error"])


def test_a_broken_file_of_endpoints_fails_runs_and_tells_callers_no_path(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    strict = OpenAI(base_url=server.base_url, api_key=server.key, _strict_response_validation=True)
    eval_id = new_eval(strict, SAME)  # the server is up, and would not start with such a file
    (server.home / "endpoints.toml").write_text("[[endpoint]]\nmodels = 3\n", encoding="utf-8")
    run = run_of(strict, eval_id, given("Paris"))
    assert run.status == "failed"
    assert "endpoints.toml" in run.error.message
    assert str(server.home) not in run.error.message


def test_the_report_follows_the_run(strict: OpenAI) -> None:
    run = run_of(strict, new_eval(strict, SAME, TONE), asking("guesses"), name="the guesser")
    page = httpx.get(run.report_url)
    assert page.status_code == 200
    for text in ("the guesser", "Hmpf, Paris.", "right capital", "guesses", "completed"):
        assert text in page.text
    assert "<script" not in page.text
