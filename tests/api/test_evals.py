"""Evals, runs and items on the wire, on each database; runs that work are in tests/wire."""

import json
from typing import Any

import pytest
from tests.api.asking import Asked, Play
from tests.api.evals_asking import (
    CHECK,
    CONFIG,
    EVAL,
    GIVEN,
    ROW,
    SCHEMA,
    got,
    keep_items,
    new_eval,
    new_run,
)
from tests.conftest import OpenStore, stored_file
from tests.wire.test_openapi_hostile import asked, assert_refused

from selftune.core.records import Identity, JobStatus
from selftune.evaluate.sources.create import EvalRequest, NewCriterion, create_eval
from selftune.jobs.queue import claim, fenced, move
from selftune.serve import loader
from selftune.serve.loader import load_sampler
from selftune.store.accounts import DEFAULT_PROJECT, create_project
from selftune.store.creations import Creation
from selftune.store.files import save_file
from selftune.store.output_items import ItemStatus
from selftune.store.store import Store
from selftune.store.webhooks import add_endpoint, claim_delivery

JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "gpt-4o",
    "input": [{"role": "user", "content": "Grade {{ sample.output_text }}"}],
    "range": [1, 5],
}
LABEL = {
    "type": "label_model",
    "name": "tone",
    "model": "gpt-4o",
    "input": [{"role": "developer", "content": "{{ item.question }}"}],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}
ALIKE = {
    "type": "text_similarity",
    "name": "alike",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "evaluation_metric": "bleu",
    "pass_threshold": 0.5,
}
PYTHON = {"type": "python", "name": "own", "source": "def grade(sample, item):\n    return 1.0"}


def refused(store: Store, path: str, body: Any, param: str | None = None) -> Any:
    reply = asked(store, "POST", path, json=body)
    assert_refused(reply, 400)
    error = reply.json()["error"]
    if param is not None:
        assert error["param"] == param, error
    return error


def ids(page: Any) -> list[str]:
    assert page["object"] == "list"
    found = [each["id"] for each in page["data"]]
    assert (page["first_id"], page["last_id"]) == ((found[0], found[-1]) if found else ("", ""))
    return found


def test_an_eval_is_created_read_changed_and_deleted(any_store: Store) -> None:
    made = new_eval(any_store, metadata={"team": "a"})
    assert made["object"] == "eval"
    assert made["data_source_config"]["schema"]["properties"]["item"] == SCHEMA
    assert made["data_source_config"]["schema"]["required"] == ["item", "sample"]
    assert made["testing_criteria"][0].items() >= CHECK.items()
    path = f"evals/{made['id']}"
    assert got(any_store, "GET", path) == made
    changed = got(any_store, "POST", path, {"name": "renamed", "metadata": {}})
    assert changed == made | {"name": "renamed", "metadata": {}}
    assert got(any_store, "POST", path, {"metadata": {"a": "b"}})["name"] == "renamed"
    deleted = {"object": "eval.deleted", "deleted": True, "eval_id": made["id"]}
    assert got(any_store, "DELETE", path) == deleted
    assert got(any_store, "GET", path, status=404)["error"]["code"] == "eval_not_found"


@pytest.mark.parametrize("criterion", [CHECK, JUDGE, LABEL, ALIKE, PYTHON])
def test_every_criterion_has_an_id_of_its_name_and_a_uuid(store: Store, criterion: Any) -> None:
    first, second = new_eval(store, testing_criteria=[criterion, criterion])["testing_criteria"]
    assert {k: v for k, v in first.items() if k != "id"} == criterion
    assert first["id"] != second["id"]
    name, uuid = first["id"][:-37], first["id"][-36:]
    assert (name, uuid[14], uuid.count("-")) == (criterion["name"], "4", 4)


@pytest.mark.parametrize("kind", ["logs", "stored_completions"])
def test_evals_of_what_was_stored_tell_its_schema(store: Store, kind: str) -> None:
    config = {"type": kind, "metadata": {"use": "chat"}}
    found = new_eval(store, data_source_config=config)["data_source_config"]
    assert (found["type"], found["metadata"]) == (kind, {"use": "chat"})
    assert set(found["schema"]["properties"]) == {"item", "sample"}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"data_source_config": None}, "data_source_config"),
        ({"data_source_config": {"type": "csv"}}, "data_source_config.type"),
        ({"data_source_config": {"type": "custom"}}, "data_source_config.item_schema"),
        (
            {"data_source_config": CONFIG | {"item_schema": {"type": "thing"}}},
            "data_source_config.item_schema",
        ),
        ({"testing_criteria": []}, "testing_criteria"),
        ({"testing_criteria": [{}]}, "testing_criteria.0.type"),
        ({"testing_criteria": [CHECK, CHECK | {"name": None}]}, "testing_criteria.1.name"),
        ({"testing_criteria": [CHECK | {"type": "multi"}]}, "testing_criteria.0.type"),
        ({"testing_criteria": [CHECK | {"operation": "is"}]}, "testing_criteria.0.operation"),
        ({"testing_criteria": [CHECK | {"input": "{{ x }}"}]}, "testing_criteria.0.input"),
        (
            {"testing_criteria": [ALIKE | {"pass_threshold": None}]},
            "testing_criteria.0.pass_threshold",
        ),
        ({"testing_criteria": [JUDGE | {"range": [5, 1]}]}, "testing_criteria.0.range"),
        ({"name": "a\0b"}, "name"),
        ({"metadata": {"k": "v" * 600}}, "metadata.k"),
    ],
)
def test_what_is_no_eval_is_refused_by_name(store: Store, changes: Any, param: str) -> None:
    error = refused(store, "evals", EVAL | changes, param)
    assert param.split(".")[-1] in error["message"]


def test_evals_are_listed_in_every_order(any_store: Store) -> None:
    made = [new_eval(any_store, name=str(n))["id"] for n in range(3)]
    assert ids(got(any_store, "GET", "evals")) == made
    assert ids(got(any_store, "GET", "evals?order=desc")) == made[::-1]
    page = got(any_store, "GET", "evals?limit=2")
    assert (ids(page), page["has_more"]) == (made[:2], True)
    page = got(any_store, "GET", f"evals?limit=2&after={made[1]}")
    assert (ids(page), page["has_more"]) == (made[2:], False)
    got(any_store, "POST", f"evals/{made[0]}", {"name": "changed"})
    by_update = [made[1], made[2], made[0]]
    assert ids(got(any_store, "GET", "evals?order_by=updated_at")) == by_update
    after = f"evals?order_by=updated_at&order=desc&after={made[2]}"
    assert ids(got(any_store, "GET", after)) == [made[1]]
    assert_refused(asked(any_store, "GET", "evals?after=nothing"), 400)
    assert ids(got(any_store, "GET", f"evals?after={made[2]}")) == []


def test_a_new_run_waits_with_everything_that_a_strict_client_wants(any_store: Store) -> None:
    made = new_eval(any_store)
    run = new_run(any_store, made, metadata={"k": "v"})
    assert run["object"] == "eval.run"
    assert (run["status"], run["name"], run["metadata"]) == ("queued", "first", {"k": "v"})
    assert run["data_source"] == GIVEN
    assert run["result_counts"] == {"total": 0, "errored": 0, "failed": 0, "passed": 0}
    assert run["per_model_usage"] == run["per_testing_criteria_results"] == []
    assert run["error"] == {"code": "", "message": ""}
    assert run["report_url"].startswith(
        f"http://x/evaluations/{made['id']}?run_id={run['id']}&key="
    )
    path = f"evals/{made['id']}/runs"
    assert got(any_store, "GET", f"{path}/{run['id']}") == run
    assert got(any_store, "GET", path)["data"] == [run]


def test_what_is_not_there_yet_is_null_where_that_is_set(open_sqlite: OpenStore) -> None:
    store = open_sqlite(eval_empties="null")
    made = new_eval(store)
    run = new_run(store, made)
    assert run["error"] is run["per_model_usage"] is run["per_testing_criteria_results"] is None
    [item] = keep_items(store, run["id"], "fail")
    sample = got(store, "GET", f"evals/{made['id']}/runs/{run['id']}/output_items/{item}")["sample"]
    assert sample["temperature"] is sample["max_completion_tokens"] is None


@pytest.mark.parametrize(
    ("source", "param"),
    [
        ({"type": "nonsense"}, "data_source.type"),
        ({"type": "jsonl", "source": {"type": "file_content", "content": []}}, None),
        ({"type": "jsonl", "source": {"type": "file_id", "id": "file-no"}}, None),
        (
            GIVEN | {"source": {"type": "file_content", "content": [ROW, {"item": {}}]}},
            "data_source.source.content.1.item",
        ),
        (
            {
                "type": "completions",
                "model": "nobody",
                "source": GIVEN["source"],
                "input_messages": {"type": "item_reference", "item_reference": "item.question"},
            },
            "data_source.model",
        ),
    ],
)
def test_a_run_that_could_not_work_is_refused(store: Store, source: Any, param: str | None) -> None:
    made = new_eval(store)
    refused(store, f"evals/{made['id']}/runs", {"data_source": source}, param)
    assert got(store, "GET", f"evals/{made['id']}/runs")["data"] == []


def test_a_form_that_the_model_cannot_keep_to_is_refused(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model says so itself, and one that can keep to it is not held up."""
    monkeypatch.setattr(loader, "load_sampler", load_sampler)
    source = {
        "type": "completions",
        "source": GIVEN["source"],
        "input_messages": {
            "type": "template",
            "template": [{"role": "user", "content": "{{ item.question }}"}],
        },
        "sampling_params": {"response_format": {"type": "json_object"}},
    }

    async def scene(asked: Asked) -> None:
        made = await asked.client.evals.create(**EVAL)
        path = f"evals/{made.id}/runs"
        error = await asked.refused(path, {"data_source": source | {"model": "selftune/minilm"}})
        assert error["param"] == "data_source.sampling_params"
        assert "cannot guarantee response_format 'json_object'" in error["message"]
        able = {"data_source": source | {"model": "selftune/fake"}}
        assert (await asked.post(path, able)).status_code == 201

    play(scene)


def test_a_file_of_another_purpose_is_no_data(store: Store) -> None:
    file = stored_file(store, b"{}", purpose="batch")
    save_file(store, file)
    source = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
    made = new_eval(store)
    error = refused(store, f"evals/{made['id']}/runs", {"data_source": source})
    assert error["code"] == "invalid_file_purpose"


@pytest.mark.parametrize("extra", [str(10**30), '"\\ud800"', "[" * 600 + "]" * 600])
def test_rows_that_cannot_be_echoed_are_refused(store: Store, extra: str) -> None:
    made = new_eval(store, data_source_config={"type": "custom", "item_schema": {}})
    body = json.dumps({"data_source": GIVEN}).replace('"Paris"', extra)
    reply = asked(store, "POST", f"evals/{made['id']}/runs", content=body.encode())
    assert_refused(reply, 400)


def test_a_nul_in_an_item_is_kept(any_store: Store) -> None:
    made = new_eval(any_store)
    row = {"item": {"question": "\0", "answer": "Köln \N{PARTY POPPER}"}}
    source = {"type": "jsonl", "source": {"type": "file_content", "content": [row]}}
    assert new_run(any_store, made, data_source=source)["data_source"] == source


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "evals/nope", "eval_not_found"),
        ("POST", "evals/nope", "eval_not_found"),
        ("DELETE", "evals/nope", "eval_not_found"),
        ("GET", "evals/nope/runs", "eval_not_found"),
        ("GET", "evals/{}/runs/nope", "eval_run_not_found"),
        ("POST", "evals/{}/runs/nope", "eval_run_not_found"),
        ("POST", "evals/{}/runs/nope/cancel", "eval_run_not_found"),
        ("DELETE", "evals/{}/runs/nope", "eval_run_not_found"),
        ("GET", "evals/{}/runs/nope/output_items", "eval_run_not_found"),
        ("GET", "fine_tuning/jobs/{run}", "fine_tune_not_found"),
        ("POST", "fine_tuning/jobs/{run}/pause", "fine_tune_not_found"),
        ("GET", "evals/{}/runs/{run}/output_items/nope", "eval_output_item_not_found"),
    ],
)
def test_what_is_not_there_is_not_found(store: Store, method: str, path: str, code: str) -> None:
    made = new_eval(store)
    run = new_run(store, made)
    found = path.replace("{}", made["id"]).replace("{run}", run["id"])
    assert got(store, method, found, {}, 404)["error"]["code"] == code


def test_a_run_belongs_to_its_eval(store: Store) -> None:
    first, second = new_eval(store), new_eval(store)
    run = new_run(store, first)
    got(store, "GET", f"evals/{second['id']}/runs/{run['id']}", status=404)


@pytest.mark.parametrize("path", ["", "/cancel"])
def test_a_run_is_canceled_on_both_paths_and_canceling_again_changes_nothing(
    any_store: Store, path: str
) -> None:
    add_endpoint(any_store, DEFAULT_PROJECT, "http://127.0.0.1:1/")
    made = new_eval(any_store)
    run = new_run(any_store, made)
    where = f"evals/{made['id']}/runs/{run['id']}"
    assert got(any_store, "POST", where + path)["status"] == "canceled"
    assert got(any_store, "POST", where + path)["status"] == "canceled"
    delivery = claim_delivery(any_store, for_seconds=60)
    assert delivery is not None
    told = json.loads(delivery.body)
    assert (told["type"], told["data"]) == ("eval.run.canceled", {"id": run["id"]})
    assert claim_delivery(any_store, for_seconds=60) is None
    assert claim(any_store, "somebody") is None


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_the_end_of_a_run_is_announced(any_store: Store, status: JobStatus) -> None:
    add_endpoint(any_store, DEFAULT_PROJECT, "http://127.0.0.1:1/")
    run = new_run(any_store, new_eval(any_store))
    claimed = claim(any_store, "somebody")
    assert claimed is not None
    for step in ("running", status):
        with fenced(any_store, claimed[1]) as (connection, job):
            move(any_store, connection, job, step)
    delivery = claim_delivery(any_store, for_seconds=60)
    assert delivery is not None
    told = json.loads(delivery.body)
    assert (told["type"], told["data"]) == (f"eval.run.{status}", {"id": run["id"]})


def test_runs_are_listed_by_status_and_page(any_store: Store) -> None:
    made = new_eval(any_store)
    path = f"evals/{made['id']}/runs"
    runs = [new_run(any_store, made, name=str(n))["id"] for n in range(3)]
    got(any_store, "POST", f"{path}/{runs[1]}/cancel")
    assert ids(got(any_store, "GET", path)) == runs
    assert ids(got(any_store, "GET", f"{path}?status=queued")) == [runs[0], runs[2]]
    assert ids(got(any_store, "GET", f"{path}?status=canceled")) == [runs[1]]
    assert ids(got(any_store, "GET", f"{path}?status=completed")) == []
    page = got(any_store, "GET", f"{path}?limit=1&order=desc&after={runs[2]}")
    assert (ids(page), page["has_more"]) == ([runs[1]], True)
    assert_refused(asked(any_store, "GET", f"{path}?status=lost"), 400)
    assert_refused(asked(any_store, "GET", f"{path}?after=lost"), 400)


def test_a_page_of_runs_is_shorter_where_their_data_are_large(store: Store) -> None:
    made = new_eval(store)
    row = {"item": {"question": "x" * 12_000_000, "answer": "y"}}
    source = {"type": "jsonl", "source": {"type": "file_content", "content": [row]}}
    runs = [new_run(store, made, data_source=source)["id"] for _ in range(4)]
    path = f"evals/{made['id']}/runs"
    page = got(store, "GET", path)
    assert (ids(page), page["has_more"]) == (runs[:2], True)
    page = got(store, "GET", f"{path}?after={runs[1]}")
    assert (ids(page), page["has_more"]) == (runs[2:], False)


def test_items_are_listed_by_status_and_page(any_store: Store) -> None:
    made = new_eval(any_store)
    run = new_run(any_store, made)
    path = f"evals/{made['id']}/runs/{run['id']}"
    items = keep_items(any_store, run["id"], "pass", "fail", "error", "pass")
    assert ids(got(any_store, "GET", f"{path}/output_items")) == items
    assert ids(got(any_store, "GET", f"{path}/output_items?status=fail")) == [items[1]]
    assert ids(got(any_store, "GET", f"{path}/output_items?status=failed")) == [items[1]]
    assert ids(got(any_store, "GET", f"{path}/output_items?status=pass&limit=1")) == [items[0]]
    page = got(any_store, "GET", f"{path}/output_items?order=desc&limit=2&after={items[3]}")
    assert (ids(page), page["has_more"]) == ([items[2], items[1]], True)
    one = got(any_store, "GET", f"{path}/output_items/{items[2]}")
    assert (one["object"], one["status"]) == ("eval.run.output_item", "error")
    assert (one["run_id"], one["eval_id"]) == (run["id"], made["id"])
    assert (one["datasource_item_id"], one["datasource_item"]) == (2, {"question": "a"})
    assert got(any_store, "GET", path)["result_counts"] == {
        "total": 4,
        "errored": 1,
        "failed": 1,
        "passed": 2,
    }
    assert_refused(asked(any_store, "GET", f"{path}/output_items?status=odd"), 400)
    assert_refused(asked(any_store, "GET", f"{path}/output_items?after=odd"), 400)


def test_deleting_a_run_cancels_it_and_takes_its_items(any_store: Store) -> None:
    made = new_eval(any_store)
    run = new_run(any_store, made, metadata={"k": "v"})
    keep_items(any_store, run["id"], "pass")
    path = f"evals/{made['id']}/runs/{run['id']}"
    deleted = {"object": "eval.run.deleted", "deleted": True, "run_id": run["id"]}
    assert got(any_store, "DELETE", path) == deleted
    got(any_store, "GET", path, status=404)
    assert claim(any_store, "somebody") is None


def test_deleting_an_eval_takes_its_runs(any_store: Store) -> None:
    made, other = new_eval(any_store), new_eval(any_store)
    runs = [new_run(any_store, made)["id"] for _ in range(3)]
    kept = new_run(any_store, other)["id"]
    for run in (*runs, kept):
        keep_items(any_store, run, "pass", "fail")
    got(any_store, "DELETE", f"evals/{made['id']}")
    got(any_store, "GET", f"evals/{made['id']}/runs/{runs[0]}", status=404)
    items = got(any_store, "GET", f"evals/{other['id']}/runs/{kept}/output_items")
    assert len(items["data"]) == 2


def test_a_create_that_is_sent_again_makes_nothing_new(any_store: Store) -> None:
    headers = {"x-stainless-retry-count": "1"}
    first, again = (asked(any_store, "POST", "evals", json=EVAL, headers=headers) for _ in "ab")
    assert first.json() == again.json()
    assert again.status_code == 201
    path = f"evals/{first.json()['id']}/runs"
    body = {"data_source": GIVEN}
    runs = [asked(any_store, "POST", path, json=body, headers=headers).json() for _ in "ab"]
    assert runs[0]["id"] == runs[1]["id"]
    assert len(got(any_store, "GET", path)["data"]) == 1


def test_projects_do_not_see_each_others_evals(store: Store) -> None:
    project = create_project(store, "other").id
    caller = Identity(key_id="k", organization_id="o", organization="o", project_id=project)
    wanted = EvalRequest(config_type="logs", criteria=(NewCriterion(shown=CHECK, grader=CHECK),))
    made = create_eval(store, caller, wanted, Creation(project_id=project, fingerprint="f"))
    got(store, "GET", f"evals/{made.id}", status=404)
    assert got(store, "GET", "evals")["data"] == []


HOSTILE = "<script>alert(1)</script>{{ 7 * 7 }}\"'&\N{SNOWMAN}"


def test_the_report_shows_failures_first_and_escapes_everything(any_store: Store) -> None:
    made = new_eval(any_store, name=HOSTILE)
    run = new_run(any_store, made, name=HOSTILE)
    keep_items(any_store, run["id"], "pass", "error", "fail", text=HOSTILE)
    page = asked(any_store, "GET", run["report_url"])
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert "{{ 7 * 7 }}" in page.text
    rows = [page.text.index(f"Row {number}: ") for number in (2, 1, 0)]
    assert rows == sorted(rows)
    assert "50.0%" in page.text


def test_a_long_report_has_pages(store: Store) -> None:
    made = new_eval(store)
    run = new_run(store, made)
    statuses: list[ItemStatus] = ["pass"] * 60
    keep_items(store, run["id"], *statuses, "fail")
    first = asked(store, "GET", run["report_url"]).text
    second = asked(store, "GET", run["report_url"] + "&page=2").text
    assert "Row 60: " in first
    assert "Page 1 of 2" in first
    assert "Row 60: " not in second
    assert second.count("<article") == 11
    assert asked(store, "GET", run["report_url"] + "&page=99").status_code == 200


def test_the_report_needs_its_own_key(store: Store) -> None:
    made, other = new_eval(store), new_eval(store)
    run = new_run(store, made)
    url = run["report_url"]
    wrong = [url[:-1], url + "x", url.split("&key")[0], url.replace(made["id"], other["id"])]
    wrong += [
        url.replace(run["id"], new_run(store, made)["id"]),
        f"http://x/evaluations/{made['id']}",
    ]
    for address in wrong:
        page = asked(store, "GET", address)
        assert page.status_code == 404
        assert made["name"] not in page.text
    assert asked(store, "GET", url).status_code == 200
