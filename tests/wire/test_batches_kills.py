"""A batch goes on whatever is killed, and asks nothing again that was answered."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from benchmarks.kills import Service
from openai import APIConnectionError
from openai.types import Batch
from tests.wire.model_stub import ModelStub, playing

from selftune.serve.batches.asking import AT_ONCE

pytestmark = [pytest.mark.xdist_group("server"), pytest.mark.slow]

REQUESTS = 800
URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"


def answered(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).upper()


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with playing(answered, seconds=0.15) as played:
        yield played


def start(service: Service) -> str:
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": URL,
            "body": {"model": "hosted", "messages": [{"role": "user", "content": f"ask {n}"}]},
        }
        for n in range(REQUESTS)
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = service.client.files.create(file=("asked.jsonl", content), purpose="batch")
    made = service.client.batches.create(
        input_file_id=file.id, endpoint=URL, completion_window="24h"
    )
    return made.id


def poll(service: Service, batch_id: str, least: int) -> Batch:
    """Wait until so many requests are answered; when that is all, until the batch is over."""
    deadline = time.monotonic() + 120
    quick = service.client.with_options(max_retries=0)
    while True:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        service.keep_alive()
        try:
            batch = quick.batches.retrieve(batch_id)
        except APIConnectionError:  # it starts again
            continue
        assert batch.request_counts is not None
        is_far_enough = batch.request_counts.completed >= least
        if is_far_enough and (least < REQUESTS or batch.status == "completed"):
            return batch
        assert batch.status in ("validating", "in_progress", "finalizing"), batch


@pytest.mark.parametrize("role", ["child", "worker", "server"])
def test_a_killed_process_repeats_no_finished_request(
    service: Service, stub: ModelStub, role: str
) -> None:
    batch_id = start(service)
    log = service.home / "runs" / batch_id / "output.jsonl"
    before: dict[str, int] = {}
    for least in (150, 400):
        poll(service, batch_id, least)
        kept = [
            line for line in log.read_text("utf-8").splitlines(keepends=True) if line[-1] == "\n"
        ]
        assert len(kept) >= least
        for line in kept:
            asked = "ask " + json.loads(line)["custom_id"].removeprefix("r")
            before[asked] = stub.asked[asked]
        pid = next(pid for pid, found in service.pids().items() if found == role)
        os.kill(pid, signal.SIGKILL)
    batch = poll(service, batch_id, REQUESTS)
    assert [asked for asked, times in before.items() if stub.asked[asked] != times] == []
    assert REQUESTS <= stub.asked.total() <= REQUESTS + 2 * AT_ONCE
    assert batch.output_file_id is not None
    assert batch.error_file_id is None
    told = [
        json.loads(line)
        for line in service.client.files.content(batch.output_file_id).text.splitlines()
    ]
    assert sorted(line["custom_id"] for line in told) == sorted(f"r{n}" for n in range(REQUESTS))
    assert batch.usage is not None
    assert batch.usage.input_tokens == 7 * REQUESTS
    assert len({batch.id for batch in service.client.batches.list()}) == 1
