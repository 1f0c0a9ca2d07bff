"""What the API process costs: import time, memory, listing jobs, and a large upload.

Writes `results/api_process.json` and fails when a limit is missed. The server's process is held on
one core and the load generator on another; the store has some hundred jobs.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from benchmarks.machine import machine
from benchmarks.serving import WORDS, Serving, measured, serving

from selftune.core.settings import Settings
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.schema import job_metadata, jobs
from selftune.store.store import open_store

RESULT = Path(__file__).parent / "results" / "api_process.json"
IMPORTS, JOBS, REQUESTS, ROUNDS, CLIENTS = 10, 500, 2000, 5, 8
UPLOAD_BYTES = 200_000_000


def import_seconds() -> dict[str, float]:
    """Return the median time that importing the API adds to a bare Python: by the clock, and CPU."""

    def once(code: str) -> tuple[float, float]:
        started, spent = time.perf_counter(), _children_seconds()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started, _children_seconds() - spent

    once("import selftune.api.app")  # byte code and disk cache
    pairs = [(once("import selftune.api.app"), once("pass")) for _ in range(IMPORTS)]
    added = [(whole[0] - bare[0], whole[1] - bare[1]) for whole, bare in pairs]
    return {
        "clock": round(statistics.median(clock for clock, _ in added), 3),
        "processor": round(statistics.median(processor for _, processor in added), 3),
    }


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fill(home: Path) -> list[str]:
    """Make jobs that have ended, as a long-used server has; return their ids."""
    store = open_store(Settings(home=home))
    numbers = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0}
    spec = {
        "model": "gpt-4o-mini-2024-07-18",
        "base": "selftune/minilm",
        "engine": "builtin",
        "training_file": "file-" + "x" * 22,
        "seed": 1,
        "suffix": "support",
        "hyperparameters": {"n_epochs": 3},
    }
    ids = [f"ftjob-{n:024}" for n in range(JOBS)]
    rows = [
        {
            "id": job_id,
            "project_id": DEFAULT_PROJECT,
            "kind": "fine_tuning",
            "status": "succeeded",
            "priority": 0,
            "spec": json.dumps(spec),
            "state": json.dumps(
                {
                    "fine_tuned_model": f"ft:gpt-4o-mini-2024-07-18:selftune:support:{n:08}",
                    "hyperparameters": numbers,
                    "trained_tokens": 4321,
                    "result_files": ["file-" + "y" * 22],
                }
            ),
            "created_at": 1_763_000_000 + n,
            "started_at": 1_763_000_001 + n,
            "finished_at": 1_763_000_060 + n,
            "attempts": 1,
            "pause_requested": 0,
        }
        for n, job_id in enumerate(ids)
    ]
    with store.db.write() as connection:
        connection.execute(jobs.insert(), rows)
        pairs = [{"job_id": each, "key": "team", "value": "support"} for each in ids]
        connection.execute(job_metadata.insert(), pairs)
    store.close()
    return ids


def rates(server: Serving, ids: list[str]) -> dict[str, Any]:
    """Return requests a second for one job and for a page of 20, each the median of the rounds."""
    _pin(server.pid, 0)
    core = 1 if (os.cpu_count() or 1) > 1 else 0
    jobs_path = "/v1/fine_tuning/jobs"
    kinds = {
        "retrieve": [server.request("GET", f"{jobs_path}/{each}") for each in ids],
        "list, 20 a page": [server.request("GET", f"{jobs_path}?after={each}") for each in ids],
    }
    found = {}
    for name, requests in kinds.items():
        sent = (requests * (REQUESTS // len(requests) + 1))[:REQUESTS]
        measured(server.port, sent[:200], CLIENTS, core)  # warm
        rounds = [measured(server.port, sent, CLIENTS, core) for _ in range(ROUNDS)]
        ordered = sorted(rounds, key=lambda each: float(each["per_second"]))
        found[name] = ordered[ROUNDS // 2] | {
            "per_second_of_each_round": [each["per_second"] for each in rounds]
        }
    return found


def upload(server: Serving, path: Path) -> dict[str, Any]:
    """Send the file as a client does; return how long it took and the server's highest memory."""
    started = time.perf_counter()
    with path.open("rb") as handle:
        answer = httpx.post(
            f"{server.url}/files",
            headers={"authorization": f"Bearer {server.key}"},
            data={"purpose": "fine-tune"},
            files={"file": ("large.jsonl", handle)},
            timeout=300,
        )
    took = time.perf_counter() - started
    assert answer.status_code == 200, answer.text
    assert answer.json()["bytes"] == path.stat().st_size
    return {
        "bytes": path.stat().st_size,
        "seconds": round(took, 2),
        "peak_mb": server.megabytes("VmHWM"),
    }


def chats() -> Iterator[bytes]:
    """Yield lines of a valid training file."""
    for n in range(10**9):
        words = " ".join(WORDS[(n * step) % 12] for step in range(1, 60))
        messages = [
            {"role": "user", "content": f"Question {n}: {words}?"},
            {"role": "assistant", "content": f"label_{n % 40}"},
        ]
        yield json.dumps({"messages": messages}).encode() + b"\n"


def write_large(path: Path) -> None:
    """Write a training file of the size to upload."""
    lines, written = chats(), 0
    with path.open("wb") as handle:
        while written < UPLOAD_BYTES:
            written += handle.write(next(lines))


def _pin(pid: int, core: int) -> None:
    """Hold a process, all its threads, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def main() -> int:
    """Measure, write the result, and say whether every limit holds."""
    imports = import_seconds()
    with tempfile.TemporaryDirectory() as folder:
        ids = fill(Path(folder) / "home")
        with serving(Path(folder) / "home") as server:
            httpx.get(f"{server.url}/models", headers={"authorization": f"Bearer {server.key}"})
            idle = server.megabytes("VmRSS")
            rate = rates(server, ids)
            after = server.megabytes("VmRSS")
            write_large(Path(folder) / "large.jsonl")
            uploaded = upload(server, Path(folder) / "large.jsonl")
    holds = {
        "import_seconds < 0.6": imports["clock"] < 0.6,
        "rss_mb < 150": max(idle, after) < 150,
        "per_second >= 500": all(each["per_second"] >= 500 for each in rate.values()),
        "peak_mb of a 200 MB upload < 150": uploaded["peak_mb"] < 150,
    }
    result = {
        "what": "the API process: import, memory, jobs through HTTP on one core, a large upload",
        "holds": holds,
        "import_seconds": imports,
        "rss_mb": {"started": idle, "after the requests": after},
        "jobs_in_the_store": JOBS,
        "requests": rate,
        "upload": uploaded,
        "load_average_before": _load_before,
        "other work ran meanwhile": _load_before > 0.5,
        "machine": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0 if all(holds.values()) else 1


_load_before = round(os.getloadavg()[0], 2)

if __name__ == "__main__":
    sys.exit(main())
