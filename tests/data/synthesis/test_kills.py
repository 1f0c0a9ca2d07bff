"""The real command, killed with SIGKILL in the middle: no row lost, none paid for twice."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher

from selftune.core.settings import child_environment, load_settings
from selftune.data.generate import Generation, generate
from selftune.data.synthesis.labels import Label
from selftune.data.synthesis.run import Asking, Means

FAULTS = ["429", "cut", "malformed", "refusal", "cut after paying"]
TASK = "Name the colour that is meant."
LABELS = ("red", "green", "blue", "yellow")
SECRET = "sk-never-to-be-seen"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "task.txt").write_text(TASK, encoding="utf-8")
    return tmp_path


def command(folder: Path, teacher: Teacher, out: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "selftune", "data", "generate", "--teacher", "wise"),
        *("--base-url", teacher.url, "--task", str(folder / "task.txt"), "--json"),
        *("--labels", ",".join(LABELS), "--count", "120", "--per-request", "4"),
        *("--max-tokens", "200", "--out", str(folder / out), *more),
    ]


def environment() -> dict[str, str]:
    return child_environment(load_settings()) | {"OPENAI_API_KEY": SECRET}


def kill_when(teacher: Teacher, arguments: list[str], requests: int) -> None:
    """Start the command and kill it when so many requests came."""
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while len(teacher.requests) < requests:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def answered(folder: Path, out: str) -> set[str]:
    """Return the keys that the journal has answers to, as the next process will find it."""
    with sqlite3.connect(folder / out / "journal.db") as journal:
        keys = {
            row[0] for row in journal.execute("SELECT key FROM questions WHERE answer NOT NULL")
        }
    journal.close()
    return keys


def finish(arguments: list[str]) -> dict[str, object]:
    run = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert SECRET not in run.stdout + run.stderr
    found: dict[str, object] = json.loads(run.stdout)
    return found


def test_a_run_that_is_killed_pays_for_no_answer_twice(
    folder: Path, teacher: Teacher, asking: Asking, means: Means
) -> None:
    teacher.delay_seconds = 0.02
    teacher.faults = list(FAULTS)
    arguments = command(folder, teacher, "killed")
    known, before = set[str](), 0
    for requests in (10, 24):
        kill_when(teacher, arguments, requests)
        known, before = answered(folder, "killed"), len(teacher.keys)
        assert known
    report = finish(arguments)

    assert not known & set(teacher.keys[before:])  # what was answered was not asked again
    assert set(teacher.paid.values()) == {1}
    assert report["requests"] == len(teacher.paid)  # every answer that was paid for was used
    assert report["stopped"] is None
    rows = (folder / "killed" / "train.jsonl").read_bytes().splitlines()
    assert len(rows) == len(set(rows)) == 120
    labels = Counter(json.loads(row)["messages"][-1]["content"] for row in rows)
    assert labels == dict.fromkeys(LABELS, 30)
    assert all(SECRET.encode() not in path.read_bytes() for path in (folder / "killed").iterdir())

    wanted = Generation(
        task=TASK, count=120, per_request=4, labels=tuple(Label(name=name) for name in LABELS)
    )
    teacher.delay_seconds = 0.0
    generate(folder / "whole", asking.model_copy(update={"max_tokens": 200}), wanted, means)
    for name in ("train.jsonl", "provenance.jsonl"):
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes()


def test_a_run_that_is_killed_while_its_batch_runs_creates_no_second_one(
    folder: Path, teacher: Teacher
) -> None:
    teacher.polls_until_done = 1_000_000
    arguments = command(folder, teacher, "batch", "--batch", "--poll-seconds", "0.01")
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not any(batch["polls"] for batch in teacher.batches.values()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    teacher.polls_until_done = 1
    report = finish(arguments)
    assert report["rows"] == 120
    assert len(teacher.batches) == 1
    assert set(teacher.paid.values()) == {1}
