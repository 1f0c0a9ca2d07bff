"""Measure `selftune eval run` as a user runs it: started, asked, graded, kept, reported.

The endpoint answers after 200 ms and has a core of its own; the program has another. CPU seconds are of
the whole process and its children, the window is what the endpoint saw from the first request to the
last answer.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.endpoint import truth
from benchmarks.machine import machine

from selftune.core.settings import child_environment, load_settings

RESULT = Path(__file__).parent / "results" / "eval_runner.json"
ENDPOINT = Path(__file__).parent / "endpoint.py"
PROGRAM = (sys.executable, "-m", "selftune", "eval", "run", "eval.toml", "--json")
EVAL = """\
name = "speed"
[data]
file = "items.jsonl"
[[models]]
name = "m"
model = "m"
base_url = "http://127.0.0.1:{port}/v1"
[evaluation]
prompt = "{{{{ item.question }}}}"
max_tokens = 16
[[evaluation.graders]]
type = "string_check"
operation = "eq"
reference = "{{{{ item.truth }}}}"
[limits]
concurrency = {concurrency}
"""
FAULTS = {"limited": 0.05, "failing": 0.02, "cut": 0.01}


class Endpoint:
    """A running endpoint."""

    def __init__(self, port: int) -> None:
        self.port = port

    def plan(self, **plan: float) -> None:
        """Tell it how to behave."""
        self._get("/plan", json.dumps(plan).encode())

    def counts(self) -> dict[str, Any]:
        """Return what it saw."""
        found: dict[str, Any] = json.loads(self._get("/counts"))
        return found

    def _get(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=10) as got:
            read: bytes = got.read()
            return read


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Run an endpoint on the last core."""
    last = max(os.sched_getaffinity(0))
    with subprocess.Popen(
        [sys.executable, str(ENDPOINT), "0"],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {last}),
    ) as process:
        assert process.stdout is not None
        try:
            yield Endpoint(int(process.stdout.readline()))
        finally:
            process.kill()


def prepared(folder: Path, at: Endpoint, count: int, concurrency: int) -> None:
    """Write an eval of so many questions."""
    folder.mkdir(parents=True, exist_ok=True)
    text = EVAL.format(port=at.port, concurrency=concurrency)
    (folder / "eval.toml").write_text(text, encoding="utf-8")
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            question = f"What is the code of parcel {number}? It came from {share(number)}."
            file.write(json.dumps({"question": question, "truth": truth(question)}) + "\n")


def share(number: int) -> str:
    """Return one of several towns."""
    return ("Bern", "Lyon", "Graz", "Turin", "Ghent")[number % 5]


def run(folder: Path, at: Endpoint, *, kill_after: int | None = None) -> dict[str, Any]:
    """Run the program once; return what it took."""
    first = min(os.sched_getaffinity(0))
    environment = child_environment(load_settings(home=folder / "home"))
    begun = time.time()
    with (folder / "out.json").open("wb") as out:
        process = subprocess.Popen(
            PROGRAM,
            cwd=folder,
            env=environment,
            stdout=out,
            preexec_fn=lambda: os.sched_setaffinity(0, {first}),
        )
        if kill_after is not None:
            threading.Thread(target=_killer, args=(process.pid, at, kill_after)).start()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    counts = at.counts()
    found: dict[str, Any] = {
        "status": process.returncode,
        "wall_seconds": time.time() - begun,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "start_to_first_request_seconds": (counts.pop("first_at") or begun) - begun,
        "endpoint": counts,
    }
    if kill_after is None:
        found["report"] = _told(json.loads((folder / "out.json").read_text(encoding="utf-8")))
    return found


def _killer(pid: int, at: Endpoint, after: int) -> None:
    while at.counts().get("answered", 0) < after:
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)


def _told(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a report that are compared with the truth."""
    arm = report["arms"][0]["summary"]
    return {
        "accuracy": arm["accuracy"]["value"],
        "scored": arm["coverage"]["scored"],
        "latency_p50": arm["latency"]["p50"],
        "latency_p99": arm["latency"]["p99"],
    }


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run that was disturbed least: the one with the shortest window."""
    return min(runs, key=lambda each: each["endpoint"]["window_seconds"])


def main() -> None:
    """Measure, and write the result."""
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as scratch, endpoint() as at:

        def fresh(count: int, concurrency: int) -> Path:
            folder = Path(scratch) / str(next(numbers))
            prepared(folder, at, count, concurrency)
            return folder

        def measured(count: int, concurrency: int, times: int, **plan: float) -> dict[str, Any]:
            runs = []
            for _ in range(times):
                folder = fresh(count, concurrency)
                at.plan(**plan)
                runs.append(run(folder, at))
            return {"items": count, "concurrency": concurrency, **least(runs)}

        measured(20, 20, 1)  # bytecode is written once
        small = measured(20, 20, 3)
        loads = [measured(2000, width, 5) for width in (100, 500)]
        folder = fresh(2000, 100)
        at.plan()
        run(folder, at, kill_after=1000)
        again = run(folder, at)
        result = {
            "what": "selftune eval run against an endpoint that answers after 200 ms, one core",
            "start": small,
            "loads": loads,
            "marginal_cpu_seconds_per_1000": [
                (load["cpu_seconds"] - small["cpu_seconds"]) / 1.98 for load in loads
            ],
            "killed_half_way_and_run_again": again,
            "faults": measured(2000, 100, 2, **FAULTS),
            "many_faults": measured(2000, 100, 1, failing=0.3),
            "large": measured(100_000, 500, 1, latency=0.02),
            "machine": machine(),
        }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
