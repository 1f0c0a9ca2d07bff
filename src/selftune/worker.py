"""The process that takes jobs and runs each in a child process.

`python -m selftune.worker` works until it is stopped; `python -m selftune.worker run JOB TOKEN` is
the child, the only process that imports an engine. The worker keeps the lease alive, ends a child
that does not listen, and gives a job whose child crashed back to the queue.
"""

import argparse
import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

from sqlalchemy import Connection

from selftune import workflow
from selftune.core.errors import (
    Cancelled,
    Interrupted,
    JobFailed,
    LeaseLost,
    Paused,
    SelftuneError,
)
from selftune.core.records import Job, JobError, JobStatus
from selftune.core.settings import child_environment, load_settings
from selftune.jobs import processes
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.owners import this_process
from selftune.jobs.queue import (
    CANCELLED,
    Lease,
    claim,
    fenced,
    get_job,
    heartbeat,
    move,
    release,
)
from selftune.jobs.states import is_terminal
from selftune.serve.webhooks import deliver_due
from selftune.store.files import expire_files
from selftune.store.store import Store, open_store
from selftune.store.uploads import expire_uploads
from selftune.store.webhooks import publish

MAX_ATTEMPTS = 5
"""Crashes without a checkpoint in between, before a job is given up."""
CANCEL_GRACE_SECONDS = 10.0
_IDLE_SECONDS = 0.2
_POLL_SECONDS = 0.05
_HOUSEKEEPING_SECONDS = 60.0
_VERBS: dict[str, Callable[[Store, Job, Lease], None]] = {"fine_tuning": workflow.finetune}
_log = logging.getLogger("selftune.worker")


def work(store: Store, stop: threading.Event) -> None:
    """Take job after job until told to stop."""
    owner = this_process()
    cleaned = float("-inf")
    while not stop.is_set():
        deliver_due(store)
        if time.monotonic() - cleaned > _HOUSEKEEPING_SECONDS:
            cleaned = time.monotonic()
            expire_files(store)
            expire_uploads(store)
        claimed = claim(store, owner)
        if claimed is None:
            stop.wait(_IDLE_SECONDS)
        else:
            _attend(store, *claimed, stop)


def run_until_done(
    store: Store, job_id: str, project_id: str, each: Callable[[Job], None] = lambda job: None
) -> Job:
    """Run one job in this process's care, or wait for the worker that has it; return it ended.

    `each` is called a few times a second with the job as it is, for a progress bar.
    """
    stop = threading.Event()
    owner = this_process()

    def attend() -> None:
        while not stop.is_set():
            claimed = claim(store, owner, only=job_id)
            if claimed is not None:
                _attend(store, *claimed, stop)
            stop.wait(_IDLE_SECONDS)

    thread = threading.Thread(target=attend, name="worker", daemon=True)
    thread.start()
    try:
        while True:
            job = get_job(store, project_id, job_id)
            each(job)
            if is_terminal(job.status) or job.status == "paused":
                return job
            time.sleep(_IDLE_SECONDS)
    finally:
        stop.set()
        thread.join()


def _attend(store: Store, job: Job, lease: Lease, stop: threading.Event) -> None:
    """Run a claimed job's child to its end, whatever that is."""
    if job.attempts > MAX_ATTEMPTS:
        return _give_up(store, lease, "crashed", f"The job crashed {MAX_ATTEMPTS} times in a row")
    log_path = store.folder("logs") / f"{job.id}.log"
    with log_path.open("ab") as log:
        child = _start(store, lease, log)
        try:
            reason = _watch(store, job, lease, child, stop)
        finally:
            child.kill()
            child.close()
    with contextlib.suppress(LeaseLost):
        if reason == "cancelled":
            _end(store, lease, "cancelled")
        elif reason == "too long":
            limit = store.settings.max_job_seconds
            _give_up(store, lease, "time_limit", f"The job ran longer than {limit} seconds")
        elif child.process.returncode != 0:
            _log.warning("job %s: its child ended with %s", job.id, child.process.returncode)
            release(store, lease)
    return None


def _start(store: Store, lease: Lease, log: IO[bytes]) -> processes.Child:
    environment = child_environment(store.settings)
    arguments = ("run", lease.job_id, lease.token)
    return processes.start("selftune.worker", *arguments, environment=environment, log=log)


def _watch(
    store: Store, job: Job, lease: Lease, child: processes.Child, stop: threading.Event
) -> str:
    """Keep the lease while the child works; return why it ended."""
    started = time.monotonic()
    beat = started
    cancelled_at: float | None = None
    while child.is_running:
        now = time.monotonic()
        if stop.is_set():
            return "stopped"
        if now - started > store.settings.max_job_seconds:
            return "too long"
        if cancelled_at is not None and now - cancelled_at > CANCEL_GRACE_SECONDS:
            return "cancelled"
        if now - beat > store.settings.lease_seconds / 4:
            beat = now
            try:
                if heartbeat(store, lease).cancel and cancelled_at is None:
                    cancelled_at = now
            except LeaseLost:
                return "lost"
        time.sleep(_POLL_SECONDS)
    return "ended"


def run_child(store: Store, job_id: str, token: str) -> int:
    """Be the child: carry the job out and store how it ended; return the exit status."""
    lease = Lease(job_id=job_id, token=token)
    try:
        with fenced(store, lease) as (_, job):
            pass
        _VERBS[job.kind](store, job, lease)
    except LeaseLost:
        return 0
    except Paused:
        _end(store, lease, "paused")
    except Cancelled:
        _end(store, lease, "cancelled")
    except Interrupted:
        return 1
    except JobFailed as failure:
        _fail(store, lease, failure)
    except SelftuneError as failure:
        _fail(store, lease, failure)
    return 0


def _end(store: Store, lease: Lease, status: JobStatus) -> None:
    with fenced(store, lease) as (connection, job):
        if status == "cancelled":
            append_events(store, connection, job.id, (CANCELLED,))
            _publish(store, connection, job, status)
        else:
            attempt = NewEvent(key=f"paused-{job.attempts}-{store.now()}", message="Job paused")
            append_events(store, connection, job.id, (attempt,))
        move(store, connection, job, status)
    if status == "cancelled":
        workflow.forget_run(store, lease.job_id)


def _fail(store: Store, lease: Lease, failure: SelftuneError) -> None:
    error = JobError(
        code=failure.code or "server_error", message=failure.message, param=failure.param
    )
    with fenced(store, lease) as (connection, job):
        event = NewEvent(key="failed", message=failure.message, level="error")
        append_events(store, connection, job.id, (event,))
        move(store, connection, job, "failed", error=error)
        _publish(store, connection, job, "failed")
    workflow.forget_run(store, lease.job_id)


def _give_up(store: Store, lease: Lease, code: str, what: str) -> None:
    log = store.folder("logs") / f"{lease.job_id}.log"
    message = f"{what}. The last lines of {log} say more; its checkpoints are kept."
    _fail(store, lease, JobFailed(message, code=code))


def _publish(store: Store, connection: Connection, job: Job, outcome: str) -> None:
    kind = f"{job.kind}.job.{outcome}"
    publish(store, connection, project_id=job.project_id, kind=kind, object_id=job.id)


def main(arguments: list[str] | None = None) -> int:
    """Run the worker, or with `run JOB TOKEN` the child."""
    parser = argparse.ArgumentParser(prog="selftune-worker")
    commands = parser.add_subparsers(dest="command")
    run = commands.add_parser("run")
    run.add_argument("job_id")
    run.add_argument("token")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    processes.die_with_parent()
    store = open_store(load_settings())
    if parsed.command == "run":
        return run_child(store, parsed.job_id, parsed.token)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    work(store, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
