"""Kill children, workers and servers at random while small jobs train; nothing may be lost.

`python benchmarks/kills.py` runs 40 jobs under 100 SIGKILLs and writes `results/kills.json`. Every
job must end as the same job did undisturbed: the same events in the same order, the same model
bytes, the same result file; and no process and no temporary file may be left.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from selftune.core.records import File, Hyperparameters, Job
from selftune.core.settings import Settings, child_environment
from selftune.jobs.events import events_since
from selftune.jobs.processes import KeptAlive
from selftune.jobs.queue import get_job
from selftune.jobs.states import is_terminal
from selftune.store.accounts import DEFAULT_PROJECT, default_identity
from selftune.store.checkpoints import list_checkpoints
from selftune.store.files import get_file, save_file
from selftune.store.store import Store, open_store
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.worker import work

WORKERS = 2
DISTINCT = 4
"""Different jobs: as many are run undisturbed to compare with."""
EPOCHS = 5
ROWS = 16
RESULTS = Path(__file__).parent / "results" / "kills.json"


@dataclass(frozen=True)
class Plan:
    """How much to do, and how fast."""

    jobs: int
    kills: int
    seed: int = 1
    step_seconds: float = 0.05
    pauses: tuple[float, float] = (0.3, 1.6)
    """Shortest and longest time between two kills."""


@dataclass
class Outcome:
    """What happened. `faults` is empty when nothing was lost."""

    killed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def measure(plan: Plan, home: Path) -> Outcome:
    """Run the plan in an empty home folder."""
    expected = [_story(*_undisturbed(home / f"calm-{n}", n)) for n in range(DISTINCT)]
    settings = Settings(home=home / "stormy", workers=WORKERS)
    store = open_store(settings)
    training = _training_file(store)
    jobs = [_create(store, training, n % DISTINCT) for n in range(plan.jobs)]
    outcome = Outcome()
    started = time.monotonic()
    _storm(plan, store, jobs, outcome)
    outcome.seconds = round(time.monotonic() - started, 1)
    for n, job in enumerate(jobs):
        ended = get_job(store, DEFAULT_PROJECT, job.id)
        if ended.status != "succeeded":
            outcome.faults.append(f"{job.id} is {ended.status}: {ended.error}")
        elif _story(store, ended) != expected[n % DISTINCT]:
            outcome.faults.append(f"{job.id} ended otherwise than undisturbed")
    outcome.faults += _left_over(store, jobs)
    store.close()
    return outcome


def _storm(plan: Plan, store: Store, jobs: list[Job], outcome: Outcome) -> None:
    """Keep a server running and kill at random until every job has ended."""
    generator = random.Random(plan.seed)
    environment = child_environment(store.settings)
    environment["SELFTUNE_FAKE_STEP_SECONDS"] = str(plan.step_seconds)
    home = str(store.root)
    server = _serve(environment)
    try:
        while not all(is_terminal(get_job(store, DEFAULT_PROJECT, job.id).status) for job in jobs):
            time.sleep(generator.uniform(*plan.pauses))
            if outcome.killed.total() < plan.kills:
                kind = generator.choice(("child", "worker", "server"))
                victims = [pid for pid, role in _processes(home).items() if role == kind]
                if victims:
                    os.kill(generator.choice(victims), signal.SIGKILL)
                    outcome.killed[kind] += 1
            if server.poll() is not None:
                server = _serve(environment)
    finally:
        server.kill()
        server.wait()
    end = time.monotonic() + 10
    while _processes(home) and time.monotonic() < end:
        time.sleep(0.05)
    outcome.faults += [f"orphan: {role} {pid}" for pid, role in _processes(home).items()]


def _serve(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--server"], env=environment)


def _be_the_server(settings: Settings) -> None:
    """Do what the real server does for its workers, and nothing else."""
    for number in range(settings.workers):
        log = settings.root / "logs" / f"worker-{number}.log"
        KeptAlive("selftune.worker", (), child_environment(settings), log).start()
    threading.Event().wait()


def _processes(home: str) -> dict[int, str]:
    """Return the processes that work in a home folder, with their roles."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"SELFTUNE_HOME={home}".encode() in environment:
            is_worker, is_child = b"selftune.worker" in command, b"run" in command
            role = "child" if is_child else "worker" if is_worker else "server"
            found[int(folder.name)] = role
    return found


def _undisturbed(home: Path, n: int) -> tuple[Store, Job]:
    store = open_store(Settings(home=home))
    job = _create(store, _training_file(store), n)
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(store, stop))
    thread.start()
    while not is_terminal(get_job(store, DEFAULT_PROJECT, job.id).status):
        time.sleep(0.05)
    stop.set()
    thread.join()
    return store, get_job(store, DEFAULT_PROJECT, job.id)


def _training_file(store: Store) -> File:
    roles = ("user", "assistant")
    rows = (
        {"messages": [{"role": role, "content": f"{role} {n}"} for role in roles]}
        for n in range(ROWS)
    )
    with store.blobs.writer() as writer:
        writer.write("\n".join(json.dumps(row) for row in rows).encode())
        blob = writer.commit()
    file = File(
        id=store.ids.new("file-"),
        project_id=DEFAULT_PROJECT,
        filename="rows.jsonl",
        purpose="fine-tune",
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    save_file(store, file)
    return file


def _create(store: Store, training: File, n: int) -> Job:
    request = FinetuneRequest(
        model="selftune/fake",
        training_file=training.id,
        seed=n,
        hyperparameters=Hyperparameters(n_epochs=EPOCHS, batch_size=4),
    )
    return create_finetuning_job(store, default_identity(store), request)


def _story(store: Store, job: Job) -> list[object]:
    """Return everything that a job said and made, without ids and times."""
    said = [
        (event.sequence, event.level, event.type, _nameless(event.message), event.data)
        for event in events_since(store, job.id, 0)
    ]
    made = [
        (
            checkpoint.step,
            checkpoint.metrics,
            (store.root / checkpoint.folder / "model.json").read_bytes(),
        )
        for checkpoint in list_checkpoints(store, job.id).data
    ]
    results = get_file(store, job.project_id, job.state["result_files"][0])
    with store.blobs.open(results.sha256) as handle:
        return [*said, *made, handle.read(), job.state["trained_tokens"]]


def _nameless(message: str) -> str:
    message = re.sub(r"(ftjob-|file-)[A-Za-z0-9]{24}", r"\1", message)
    return re.sub(r"(ft:[^:]*:[^:]*:[^:]*:)[A-Za-z0-9]{8}", r"\1", message)


def _left_over(store: Store, jobs: list[Job]) -> list[str]:
    """Open the home folder as the next worker would, and look for what should not be there."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(open_store(store.settings), stop))
    thread.start()
    time.sleep(1.0)
    stop.set()
    thread.join()
    known = {
        checkpoint.folder for job in jobs for checkpoint in list_checkpoints(store, job.id).data
    }
    root = store.root
    left = [*(root / "runs").iterdir(), *(root / "blobs" / ".tmp").iterdir()]
    left += [path for path in (root / "models").iterdir() if f"models/{path.name}" not in known]
    return [f"left over: {path.relative_to(root)}" for path in left]


def _report(plan: Plan, outcome: Outcome) -> dict[str, object]:
    return {
        "what": "random SIGKILLs of child, worker and server while small jobs train",
        "jobs": plan.jobs,
        "workers": WORKERS,
        "steps_per_job": EPOCHS * ROWS // 4,
        "kills": outcome.killed.total(),
        "killed": dict(sorted(outcome.killed.items())),
        "seed": plan.seed,
        "seconds": outcome.seconds,
        "faults": outcome.faults,
        "machine": {"cpus": os.cpu_count(), "python": sys.version.split()[0]},
    }


def main() -> int:
    """Run the whole benchmark, or be its server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="store_true", help="be the server (used by this script)")
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parsed = parser.parse_args()
    if parsed.server:
        from selftune.core.settings import load_settings

        _be_the_server(load_settings())
        return 0
    plan = Plan(parsed.jobs, parsed.kills, parsed.seed)
    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(plan, Path(folder))
    report = _report(plan, outcome)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
