"""Kill a real server's processes at random while it trains; nothing may be lost or left behind.

`python benchmarks/kills.py` starts `selftune serve`, sends 40 jobs with the official client, gives
100 SIGKILLs to training children, workers and the server, starts the server again as a service
manager would, and writes `results/kills.json`. Every job must end as the same job did undisturbed:
the same events in the same order, the same result file, the same model bytes. No job may be there
twice, no process and no temporary file may be left.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
from benchmarks.machine import machine
from openai.types.fine_tuning import FineTuningJob

from selftune.core.settings import Settings, child_environment, load_settings
from selftune.jobs.events import events_since
from selftune.jobs.queue import get_job
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.checkpoints import list_checkpoints
from selftune.store.store import Store, open_store
from selftune.worker import MAX_ATTEMPTS

WORKERS = 2
EPOCHS = 5
FAKE_ROWS, FAKE_BATCH = 16, 4
EMBEDDED_ROWS, EMBEDDED_BATCH, EMBEDDED_LETTERS = 96, 16, 24
ENDED = ("succeeded", "failed", "cancelled")
RESULTS = Path(__file__).parent / "results" / "kills.json"
_WEIGHTS = {"child": 2, "worker": 1, "server": 1}
"""How often each is drawn; a draw for which no process is there is no kill, and children are few."""
_LONGEST_SECONDS = 1800
_CALM_SECONDS = 30
"""How long the server may take to be whole again after the last kill."""


@dataclass(frozen=True)
class Plan:
    """How much to do, and how fast."""

    fake: int
    """Jobs of the engine that only pretends."""
    embedded: int
    """Jobs of the embedded model."""
    kills: int
    seed: int = 1
    step_seconds: float = 0.05
    """How slow the fake engine is."""
    pauses: tuple[float, float] = (0.3, 3.5)
    """Shortest and longest time between two kills."""


@dataclass(frozen=True)
class Kind:
    """A job to create. Those of one kind must end alike."""

    model: str
    seed: int

    @property
    def rows(self) -> bytes:
        """Return the training file."""
        if self.model == "selftune/fake":
            pairs = [(f"question {n}", f"answer {n}") for n in range(FAKE_ROWS)]
        else:
            generator = random.Random(0)
            pairs = [
                ("".join(generator.choices("aeiouklmnst ", k=EMBEDDED_LETTERS)), label)
                for label in generator.choices(("yes", "no", "maybe"), k=EMBEDDED_ROWS)
            ]
        rows = [
            [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            for asked, answer in pairs
        ]
        return "\n".join(json.dumps({"messages": row}) for row in rows).encode()

    @property
    def batch(self) -> int:
        """Return how many rows a step has."""
        return FAKE_BATCH if self.model == "selftune/fake" else EMBEDDED_BATCH


@dataclass
class Outcome:
    """What happened. `faults` is empty when nothing was lost."""

    killed: Counter[str] = field(default_factory=Counter)
    killed_in_create: int = 0
    """Kills of the server, among all, that were aimed at a create on its way."""
    spared: int = 0
    """Children not killed: their jobs were at the last attempt before they are rightly given up."""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Service:
    """`selftune serve` in a home folder, in the care of a simple service manager."""

    def __init__(self, folder: Path, step_seconds: float) -> None:
        self.home, self.temporary = folder / "home", folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.log = folder / "server.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        settings = load_settings(home=self.home, workers=WORKERS, port=self._port)
        self._environment = child_environment(settings) | {
            "SELFTUNE_FAKE_STEP_SECONDS": str(step_seconds),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.temporary),
        }
        self._process = self._start()
        self._await_start()
        self.client = openai.OpenAI(
            base_url=f"http://127.0.0.1:{self._port}/v1", api_key=self._key(), max_retries=50
        )

    def keep_alive(self) -> None:
        """Start the server again if it has ended."""
        if self._process.poll() is not None:
            self._process = self._start()

    def pids(self) -> dict[int, str]:
        """Return the processes that work in the home folder, with their roles."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"SELFTUNE_HOME={self.home}".encode() in environment:
                found[int(folder.name)] = _role(command)
        return found

    def stop(self) -> None:
        """End the server as a service manager does."""
        self._process.terminate()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "selftune", "serve"]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def _await_start(self) -> None:
        """Wait until it listens: a client would ask again for long where it never will."""
        while True:
            assert self._process.poll() is None, self.log.read_text("utf-8")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(0.05)

    def _key(self) -> str:
        """Return the key that the first start prints."""
        while not (found := re.search(r"OPENAI_API_KEY=(\S+)", self.log.read_text("utf-8"))):
            assert self._process.poll() is None, self.log.read_text("utf-8")
            time.sleep(0.05)
        return found[1]


def measure(plan: Plan, folder: Path) -> Outcome:
    """Run the plan in an empty folder."""
    kinds = _kinds(plan)
    expected = _undisturbed(sorted(set(kinds), key=repr), folder / "calm")
    outcome = Outcome()
    service = Service(folder / "stormy", plan.step_seconds)
    started = time.monotonic()
    try:
        ids = _storm(plan, kinds, service, outcome)
        outcome.seconds = round(time.monotonic() - started, 1)
        outcome.faults += _soon_none(lambda: _missing(service) + _left_over(service))
        outcome.faults += _miscounted(service.client, ids)
        store = open_store(Settings(home=service.home))
        for kind, job_id in zip(kinds, ids, strict=True):
            outcome.faults += _differences(service.client, store, job_id, expected[kind])
        store.close()
    finally:
        service.stop()
    orphans = _soon_none(lambda: [f"orphan: {role}" for role in service.pids().values()])
    outcome.faults += orphans + _complaints(service)
    return outcome


def _kinds(plan: Plan) -> list[Kind]:
    """Return every job of the plan: four kinds of fake ones, and two of embedded ones in between."""
    kinds = [Kind("selftune/fake", n % 4) for n in range(plan.fake)]
    for n in range(plan.embedded):
        place = (2 * n + 1) * len(kinds) // (2 * plan.embedded)
        kinds.insert(place, Kind("selftune/minilm", n % 2))
    return kinds


def _undisturbed(kinds: list[Kind], folder: Path) -> dict[Kind, dict[str, Any]]:
    """Run each kind of job in peace and return its story."""
    service = Service(folder, 0.0)
    try:
        jobs = {kind: _create(service.client, kind, n) for n, kind in enumerate(kinds)}
        while not _have_ended(service.client):
            time.sleep(0.2)
        store = open_store(Settings(home=service.home))
        stories = {kind: _story(service.client, store, job_id) for kind, job_id in jobs.items()}
        store.close()
    finally:
        service.stop()
    assert all(story["status"] == "succeeded" for story in stories.values()), stories
    return stories


class Killer:
    """Kills one process at a time, until it has killed enough."""

    def __init__(self, plan: Plan, service: Service, store: Store, outcome: Outcome) -> None:
        self._most, self._service, self._store, self._outcome = plan.kills, service, store, outcome
        self._generator = random.Random(plan.seed + 2)
        self._lock = threading.Lock()

    def kill(self, role: str, aimed: int = 0) -> None:
        """Kill a process that has the role, if there is one."""
        with self._lock:
            victims = [pid for pid, found in self._service.pids().items() if found == role]
            if not victims or self._outcome.killed.total() >= self._most:
                return
            victim = self._generator.choice(victims)
            if role == "child" and _is_last_attempt(self._store, victim):
                self._outcome.spared += 1
                return
            with contextlib.suppress(ProcessLookupError):  # it may just have ended
                os.kill(victim, signal.SIGKILL)
                self._outcome.killed[role] += 1
                self._outcome.killed_in_create += aimed


def _storm(plan: Plan, kinds: list[Kind], service: Service, outcome: Outcome) -> list[str]:
    """Create jobs and kill at random until there is nothing more to do; return the jobs' ids."""
    store = open_store(Settings(home=service.home))
    generator = random.Random(plan.seed)
    killer = Killer(plan, service, store, outcome)
    ids: list[str] = []

    def create_all() -> None:
        delays = random.Random(plan.seed + 1)
        for n, kind in enumerate(kinds):
            while outcome.killed.total() < 0.9 * plan.kills * n / len(kinds) - 2:
                time.sleep(0.05)
            before = None
            if n % 5 == 1:  # when its answer is most likely to be lost
                before = threading.Timer(
                    delays.uniform(0.0, 0.02), killer.kill, ("server", 1)
                ).start
            ids.append(_create(service.client, kind, n, before))

    submitting = threading.Thread(target=create_all, daemon=True)
    submitting.start()
    end = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < end:
        time.sleep(generator.uniform(*plan.pauses))
        service.keep_alive()
        if outcome.killed.total() < plan.kills:
            killer.kill(generator.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0])
        elif not submitting.is_alive() and _have_ended(service.client):
            break
        service.keep_alive()
    else:
        outcome.faults.append(f"not over after {_LONGEST_SECONDS} seconds")
    store.close()
    return ids


def _is_last_attempt(store: Store, child: int) -> bool:
    """Return whether a child's job would be given up if it crashed once more."""
    try:
        command = Path(f"/proc/{child}/cmdline").read_text("utf-8").split("\0")
    except OSError:
        return True  # it has just ended
    job_id = next((word for word in command if word.startswith("ftjob-")), None)
    return job_id is None or get_job(store, DEFAULT_PROJECT, job_id).attempts >= MAX_ATTEMPTS


def _create(
    client: openai.OpenAI, kind: Kind, number: int, before: Callable[[], None] | None = None
) -> str:
    """Upload and create as a user does; the client repeats what got no answer, and says so."""
    file = client.files.create(file=(f"rows-{number}.jsonl", kind.rows), purpose="fine-tune")
    numbers: Any = {"n_epochs": EPOCHS, "batch_size": kind.batch}

    def create(**headers: str) -> str:
        return client.fine_tuning.jobs.create(
            model=kind.model,
            training_file=file.id,
            seed=kind.seed,
            method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
            metadata={"number": str(number)},
            extra_headers=headers,
        ).id

    if before is not None:
        before()
    job_id = create()
    assert number % 2 or create(**{"x-stainless-retry-count": "1"}) == job_id
    return job_id


def _jobs(client: openai.OpenAI) -> list[FineTuningJob]:
    return list(client.fine_tuning.jobs.list(limit=100))


def _have_ended(client: openai.OpenAI) -> bool:
    return all(job.status in ENDED for job in _jobs(client))


def _miscounted(client: openai.OpenAI, ids: list[str]) -> list[str]:
    """Return what a repeated request made twice, or what is not there."""
    faults = []
    if sorted(job.id for job in _jobs(client)) != sorted(ids):
        faults.append(f"{len(_jobs(client))} jobs are there, {len(set(ids))} were created")
    files = Counter(file.purpose for file in client.files.list(limit=10_000))
    if files != {"fine-tune": len(ids), "fine-tune-results": len(ids)}:
        faults.append(f"{dict(files)} files are there for {len(ids)} jobs")
    return faults


def _differences(
    client: openai.OpenAI, store: Store, job_id: str, expected: dict[str, Any]
) -> list[str]:
    story = _story(client, store, job_id)
    names = [name for name in expected if story.get(name) != expected[name]]
    return [f"{job_id}: {name} not as undisturbed: {str(story.get(name))[:500]}" for name in names]


def _story(client: openai.OpenAI, store: Store, job_id: str) -> dict[str, Any]:
    """Return everything that a job said and made, without ids and times."""
    job = client.fine_tuning.jobs.retrieve(job_id)
    events = list(client.fine_tuning.jobs.list_events(job_id, limit=100))[::-1]
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job_id))
    stored = {found.model: found.folder for found in list_checkpoints(store, job_id).data}
    return {
        "status": job.status,
        "trained tokens": job.trained_tokens,
        "events": [(e.level, e.type, _nameless(e.message), e.data) for e in events],
        "event numbers": [event.sequence for event in events_since(store, job_id, 0)],
        "event ids": len({event.id for event in events}),
        "result files": [client.files.content(name).content for name in job.result_files],
        "checkpoints": [(c.step_number, c.metrics.to_dict()) for c in checkpoints],
        "models": [_contents(store.root / folder, name) for name, folder in stored.items()],
    }


def _contents(folder: Path, name: str) -> dict[str, object]:
    """Return a hash of each file of a model; of its own description, all but the ids."""
    found: dict[str, object] = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    about = json.loads((folder / "selftune.json").read_text("utf-8"))
    del about["job_id"]
    found["selftune.json"] = about | {"id": about["id"] == name}
    return found


def _nameless(message: str) -> str:
    message = re.sub(r"(ftjob-|file-)[A-Za-z0-9]{24}", r"\1", message)
    return re.sub(r"(ft:[^:]*:[^:]*:[^:]*:)[A-Za-z0-9]{8}", r"\1", message)


def _role(command: list[bytes]) -> str:
    if b"selftune.batching" in command:
        return "child"
    if b"selftune.worker" in command:
        return "child" if b"run" in command else "worker"
    return "server" if b"selftune" in command else "serving"


def _soon_none(faults: Callable[[], list[str]]) -> list[str]:
    """Return the faults that do not go away by themselves."""
    end = time.monotonic() + _CALM_SECONDS
    while (found := faults()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _missing(service: Service) -> list[str]:
    roles = Counter(service.pids().values())
    wanted = Counter({"server": 1, "worker": WORKERS, "serving": 1})
    return [f"not brought back: {role}" for role in (wanted - roles)]


def _left_over(service: Service) -> list[str]:
    """Return what is there for no job's sake."""
    home = service.home
    known = {
        f"{job.id}-step-{found.step_number}"
        for job in _jobs(service.client)
        for found in service.client.fine_tuning.jobs.checkpoints.list(job.id)
    }
    left = [*(home / "runs").iterdir(), *(home / "blobs" / ".tmp").iterdir()]
    left += [*home.rglob("*.partial"), *service.temporary.iterdir()]
    left += [path for path in (home / "models").iterdir() if path.name not in known]
    return [f"left over: {path.relative_to(home.parent)}" for path in left]


def _complaints(service: Service) -> list[str]:
    """Return the logs in which a process says that it failed; a SIGKILL leaves no word."""
    logs = [service.log, *(service.home / "logs").iterdir()]
    return [f"traceback in {log.name}" for log in logs if "Traceback" in log.read_text("utf-8")]


def _report(plan: Plan, outcome: Outcome) -> dict[str, object]:
    return {
        "what": "random SIGKILLs of child, worker and `selftune serve` while small jobs train",
        "jobs": plan.fake + plan.embedded,
        "jobs_of_the_embedded_model": plan.embedded,
        "workers": WORKERS,
        "steps_per_job": EPOCHS * FAKE_ROWS // FAKE_BATCH,
        "steps_per_job_of_the_embedded_model": EPOCHS * EMBEDDED_ROWS // EMBEDDED_BATCH,
        "kills": outcome.killed.total(),
        "killed": dict(sorted(outcome.killed.items())),
        "killed_in_create": outcome.killed_in_create,
        "spared_at_the_last_attempt": outcome.spared,
        "seed": plan.seed,
        "seconds": outcome.seconds,
        "faults": outcome.faults,
        "machine": machine(),
    }


def main() -> int:
    """Run the whole benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=36, help="of the fake engine")
    parser.add_argument("--embedded", type=int, default=4, help="jobs of the embedded model")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in and to keep")
    parsed = parser.parse_args()
    plan = Plan(parsed.jobs, parsed.embedded, parsed.kills, parsed.seed)
    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(plan, parsed.keep or Path(folder))
    report = _report(plan, outcome)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
