"""A run of an eval goes on whatever is killed, and asks nothing again that was answered."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks.kills import Service
from openai import APIConnectionError, OpenAI
from openai.types.evals import RunRetrieveResponse
from tests.wire.model_stub import ModelStub, playing

pytestmark = [pytest.mark.xdist_group("server"), pytest.mark.slow]

ITEMS = 400
AT_ONCE = 32
"""Most questions on their way to one endpoint: a kill may repeat so many."""
JUDGED = "Judge "


def answered(body: dict[str, Any]) -> str:
    asked = str(body["messages"][-1]["content"])
    return '{"steps": [], "result": 1}' if asked.startswith(JUDGED) else asked.upper()


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with playing(answered, seconds=0.15) as played:
        yield played


def start(client: OpenAI) -> tuple[str, str]:
    check: Any = {
        "type": "string_check",
        "name": "same",
        "input": "{{ sample.output_text }}",
        "operation": "eq",
        "reference": "{{ item.expected }}",
    }
    judge: Any = {
        "type": "score_model",
        "name": "judge",
        "model": "hosted",
        "input": [{"role": "user", "content": JUDGED + "{{ sample.output_text }}"}],
    }
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {}, "include_sample_schema": True},
        testing_criteria=[check, judge],
    )
    rows = [{"item": {"asked": f"item {n}", "expected": f"ITEM {n}"}} for n in range(ITEMS)]
    source: Any = {
        "type": "completions",
        "model": "hosted",
        "source": {"type": "file_content", "content": rows},
        "input_messages": {"type": "item_reference", "item_reference": "item.asked"},
    }
    return made.id, client.evals.runs.create(made.id, data_source=source).id


def judging(asked: str) -> str:
    """Return what the judge is asked about an answer."""
    return JUDGED + asked.upper()


def finished(client: OpenAI, eval_id: str, run_id: str) -> list[str]:
    """Return what was asked for the items that are done with."""
    items = client.evals.runs.output_items.list(run_id, eval_id=eval_id, limit=100)
    return [item.sample.input[0].content for item in items]


def poll(service: Service, eval_id: str, run_id: str, least: int = ITEMS) -> RunRetrieveResponse:
    deadline = time.monotonic() + 90
    quick = service.client.with_options(max_retries=0)
    while True:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        service.keep_alive()
        try:
            run = quick.evals.runs.retrieve(run_id, eval_id=eval_id)
        except APIConnectionError:  # it starts again
            continue
        if run.result_counts.total >= least and (least < ITEMS or run.status == "completed"):
            return run
        assert run.status in ("queued", "in_progress"), run


@pytest.mark.parametrize("role", ["child", "worker", "server"])
def test_a_killed_process_repeats_no_finished_item(
    service: Service, stub: ModelStub, role: str
) -> None:
    eval_id, run_id = start(service.client)
    answered_before: list[tuple[str, int]] = []
    for least in (60, 200):
        poll(service, eval_id, run_id, least)
        done = finished(service.client, eval_id, run_id)
        requests = [text for asked in done for text in (asked, judging(asked))]
        answered_before += [(text, stub.asked[text]) for text in requests]
        pid = next(pid for pid, found in service.pids().items() if found == role)
        os.kill(pid, signal.SIGKILL)
    run = poll(service, eval_id, run_id)
    assert [text for text, times in answered_before if stub.asked[text] != times] == []
    assert stub.asked.total() <= 2 * (ITEMS + 2 * AT_ONCE)
    counts = run.result_counts
    assert (counts.passed, counts.failed, counts.errored) == (ITEMS, 0, 0)
    items = list(service.client.evals.runs.output_items.list(run_id, eval_id=eval_id, limit=100))
    assert sorted(item.datasource_item_id for item in items) == list(range(ITEMS))
    [usage] = run.per_model_usage
    assert usage.invocation_count == 2 * ITEMS
    assert [(r.passed, r.failed) for r in run.per_testing_criteria_results] == [(ITEMS, 0)] * 2
