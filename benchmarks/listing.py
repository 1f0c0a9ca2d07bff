"""How long a page of a long listing takes: 10,000 jobs, 100,000 events, 10,000 files.

Writes `results/listing.json`: milliseconds a page through the store, median and slowest of the
first, a middle and the last page.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Table

from selftune.core.settings import Settings
from selftune.jobs.events import list_events
from selftune.jobs.queue import JobQuery, claim, list_jobs
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.files import list_files
from selftune.store.schema import events, files, job_metadata, jobs
from selftune.store.store import Store, open_store

JOBS = 10_000
EVENTS = 100_000
FILES = 10_000
BUSY_JOB = "ftjob-000000"
BUSY_EVENTS = 20_000
"""Events of one long job; the others share the rest."""
PAGE = 100
ROUNDS = 20
RESULTS = Path(__file__).parent / "results" / "listing.json"


def main() -> int:
    """Fill a store, time its pages, write the result."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(home=Path(folder)))
        _fill(store)
        measured = {name: _milliseconds(page) for name, page in _pages(store).items()}
        store.close()
    slowest = max(times["slowest"] for times in measured.values())
    report = {
        "what": f"milliseconds a page of {PAGE} takes through the store, SQLite",
        "jobs": JOBS,
        "events": EVENTS,
        "files": FILES,
        "limit_ms": 50,
        "slowest_ms": slowest,
        "pages": measured,
        "machine": {"cpus": os.cpu_count(), "python": sys.version.split()[0]},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 0 if slowest < 50 else 1


def _pages(store: Store) -> dict[str, Callable[[], object]]:
    def job_page(**wanted: object) -> Callable[[], object]:
        query = JobQuery.model_validate({"limit": PAGE} | wanted)
        return lambda: list_jobs(store, DEFAULT_PROJECT, "fine_tuning", query)

    def file_page(after: str | None) -> Callable[[], object]:
        return lambda: list_files(store, DEFAULT_PROJECT, after=after, limit=PAGE)

    def event_page(after: str | None) -> Callable[[], object]:
        return lambda: list_events(store, BUSY_JOB, after=after, limit=PAGE)

    return {
        "jobs, first": job_page(),
        "jobs, middle": job_page(after=f"ftjob-{JOBS // 2:06}"),
        "jobs, last": job_page(after=f"ftjob-{PAGE:06}"),
        "jobs, one metadata pair of many": job_page(metadata={"team": "7"}),
        "jobs, rare metadata pair": job_page(metadata={"name": "job 77"}),
        "jobs, without metadata": job_page(without_metadata=True),
        "events, first": event_page(None),
        "events, middle": event_page(f"ftevent-{BUSY_EVENTS // 2:06}"),
        "events, last": event_page(f"ftevent-{PAGE:06}"),
        "files, first": file_page(None),
        "files, last": file_page(f"file-{PAGE:06}"),
        "claim with nothing to do": lambda: claim(store, "elsewhere:1:1"),
    }


def _milliseconds(page: Callable[[], object]) -> dict[str, float]:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        page()
        times.append(1000 * (time.perf_counter() - started))
    return {"median": round(statistics.median(times), 2), "slowest": round(max(times), 2)}


def _fill(store: Store) -> None:
    job = {
        "project_id": DEFAULT_PROJECT,
        "kind": "fine_tuning",
        "status": "succeeded",
        "priority": 0,
        "spec": json.dumps({"model": "selftune/fake", "training_file": "file-x", "seed": 1}),
        "state": json.dumps({"trained_tokens": 1234, "result_files": ["file-y"]}),
        "created_at": 1,
        "attempts": 1,
        "pause_requested": 0,
    }
    event = {"created_at": 1, "level": "info", "message": "Step", "type": "metrics", "data": "{}"}
    file = {
        "project_id": DEFAULT_PROJECT,
        "filename": "f.jsonl",
        "purpose": "fine-tune",
        "bytes": 1,
        "sha256": "0" * 64,
        "created_at": 1,
        "status": "processed",
    }
    job_ids = [f"ftjob-{n:06}" for n in range(JOBS)]
    _insert(store, jobs, [job | {"id": job_id} for job_id in job_ids])
    pairs = [
        {"job_id": job_id, "key": key, "value": value}
        for n, job_id in enumerate(job_ids)
        if n % 2
        for key, value in (("team", str(n % 10)), ("name", f"job {n}"))
    ]
    _insert(store, job_metadata, pairs)
    owners = [
        (BUSY_JOB, n) if n < BUSY_EVENTS else (job_ids[n % (JOBS - 1) + 1], n)
        for n in range(EVENTS)
    ]
    rows = [
        event | {"job_id": owner, "sequence": n + 1, "id": f"ftevent-{n:06}", "key": f"step-{n}"}
        for owner, n in owners
    ]
    _insert(store, events, rows)
    _insert(store, files, [file | {"id": f"file-{n:06}"} for n in range(FILES)])


def _insert(store: Store, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    with store.db.write() as connection:
        connection.execute(table.insert(), list(rows))


if __name__ == "__main__":
    sys.exit(main())
