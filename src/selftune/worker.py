"""The process that takes jobs and runs each in a child process.

`python -m selftune.worker` works until it is stopped; `python -m selftune.worker run JOB TOKEN` is
the child, the only process that imports an engine. The worker keeps the lease alive, ends a child
that does not listen, and gives a job whose child crashed back to the queue.
"""

import argparse
import contextlib
import errno
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Literal

from selftune import workflow
from selftune.core.errors import (
    Cancelled,
    Interrupted,
    JobFailed,
    LeaseLost,
    Paused,
    SelftuneError,
)
from selftune.core.ids import IdSource
from selftune.core.records import Job, JobError
from selftune.core.settings import child_environment, load_settings
from selftune.jobs import processes
from selftune.jobs.devices import VISIBLE, find_devices, visible
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.queue import (
    BATCH,
    EVAL_RUN,
    Lease,
    add_seconds,
    claim,
    ended_jobs,
    fenced,
    get_job,
    heartbeat,
    is_pause_requested,
    move,
    release,
)
from selftune.jobs.states import is_terminal
from selftune.serve.webhooks import TIMEOUT_SECONDS, deliver_due
from selftune.store.completions import expire_completions
from selftune.store.files import drop_unneeded_blobs, expire_files
from selftune.store.owners import this_process
from selftune.store.store import Store, open_store
from selftune.store.uploads import expire_uploads
from selftune.train.create import KIND
from selftune.train.leftovers import forget_run, remove_leftovers, scratch_folder

Verb = Callable[[Store, Job, Lease], None]
"""Carries out a job of one kind."""
Ending = Literal["ended", "lost", "paused", "stopped", "too long"]
"""Why a worker no longer watches a child."""
MAX_ATTEMPTS = 10
"""Crashes without anything new in between, before a job is given up: many, because a machine that
kills at random is not the job's fault, and a job that always crashes does so within seconds."""
PAUSE_GRACE_SECONDS = 120.0
"""How long a child may take to finish its step and keep a snapshot, when it is to pause."""
_IDLE_SECONDS = 0.2
_POLL_SECONDS = 0.05
_HEARTBEAT_SECONDS = 1.0
_COURIER_SECONDS = 1.0
_HOUSEKEEPING_SECONDS = 600.0
_VERBS: dict[str, Verb] = {
    KIND: workflow.finetune,
    EVAL_RUN: workflow.run_eval,
}
_PROGRAMS = {BATCH: "selftune.batching"}
"""Children that are programs of their own: they stand above the worker."""
_log = logging.getLogger("selftune.worker")


def work(store: Store, stop: threading.Event) -> None:
    """Take job after job until told to stop."""
    processes.check_python(store.settings.train_python)
    owner, devices = this_process(), find_devices(store.settings.devices)
    cleaned = float("-inf")
    courier = threading.Thread(target=_deliver, args=(store, stop), name="courier", daemon=True)
    courier.start()
    while not stop.is_set():
        if time.monotonic() - cleaned > _HOUSEKEEPING_SECONDS:
            cleaned = time.monotonic()
            _clean(store)
        claimed = claim(store, owner, devices=devices)
        if claimed is None:
            stop.wait(_IDLE_SECONDS)
        else:
            _attend(store, *claimed, stop)
    courier.join(TIMEOUT_SECONDS)


def run_until_done(
    store: Store, job_id: str, project_id: str, each: Callable[[Job], None] = lambda job: None
) -> Job:
    """Run one job in this process's care, or wait for the worker that has it; return it ended.

    `each` is called a few times a second with the job as it is, for a progress bar.
    """
    processes.check_python(store.settings.train_python)
    stop = threading.Event()
    owner, devices = this_process(), find_devices(store.settings.devices)

    def attend() -> None:
        while not stop.is_set():
            claimed = claim(store, owner, only=job_id, devices=devices)
            if claimed is not None:
                _attend(store, *claimed, stop)
            stop.wait(_IDLE_SECONDS)

    with ThreadPoolExecutor(1, "worker") as pool:
        attending = pool.submit(attend)
        try:
            while True:
                job = get_job(store, project_id, job_id)
                each(job)
                if is_terminal(job.status) or job.status == "paused":
                    return job
                if attending.done():
                    attending.result()  # raises what ended it
                time.sleep(_IDLE_SECONDS)
        finally:
            stop.set()


def _deliver(store: Store, stop: threading.Event) -> None:
    """Send webhooks while jobs run."""
    while not stop.wait(_COURIER_SECONDS):
        deliver_due(store)


def _clean(store: Store) -> None:
    """Remove what is over or was left behind."""
    expire_files(store)
    expire_completions(store)
    expire_uploads(store)
    drop_unneeded_blobs(store)
    remove_leftovers(store)


def _attend(store: Store, job: Job, lease: Lease, stop: threading.Event) -> None:
    """Run a claimed job's child to its end, whatever that is."""
    if job.attempts > MAX_ATTEMPTS:
        what = f"The job stopped {MAX_ATTEMPTS} times in a row without getting further"
        return _give_up(store, lease, "crashed", what)
    log_path = store.folder("logs") / f"{job.id}.log"
    with log_path.open("ab") as log:
        child = _start(store, job, lease, log)
        try:
            ending = _watch(store, job, lease, child, stop)
        finally:
            child.kill()
            child.close()
    with contextlib.suppress(Interrupted):
        _settle(store, lease, ending, child.process.returncode)
    if ended_jobs(store, [job.id], or_deleted=True):
        forget_run(store, job.id)
    return None


def _start(store: Store, job: Job, lease: Lease, log: IO[bytes]) -> processes.Child:
    environment = child_environment(store.settings)
    environment["TMPDIR"] = str(scratch_folder(store, lease.job_id))  # removed with the job
    arguments = ("run", lease.job_id, lease.token)
    if lease.devices is not None:
        environment[VISIBLE] = visible(lease.devices)  # none for who needs none: others hold them
    program = _PROGRAMS.get(job.kind, "selftune.worker")
    python = store.settings.train_python if job.kind == KIND else ""
    return processes.start(program, *arguments, environment=environment, log=log, python=python)


def _watch(
    store: Store, job: Job, lease: Lease, child: processes.Child, stop: threading.Event
) -> Ending:
    """Keep the lease while the child works, counting the time; return why that is over."""
    started = beat = time.monotonic()
    left = store.settings.max_job_seconds - job.seconds_used
    pause_seen: float | None = None
    while (ending := _ending(child, stop, started + left, pause_seen)) is None:
        now = time.monotonic()
        if now - beat > min(store.settings.lease_seconds / 4, _HEARTBEAT_SECONDS):
            try:
                heartbeat(store, lease, seconds=now - beat)
                beat = now
                if pause_seen is None and is_pause_requested(store, lease):
                    pause_seen = now
            except Interrupted:
                return "lost"
        time.sleep(_POLL_SECONDS)
    add_seconds(store, job.id, time.monotonic() - beat)
    return ending


def _ending(
    child: processes.Child, stop: threading.Event, end: float, pause_seen: float | None
) -> Ending | None:
    """Return why a child is to be watched no longer, if it is not."""
    now = time.monotonic()
    if not child.is_running:
        return "ended"
    if stop.is_set():
        return "stopped"
    if now > end:
        return "too long"
    if pause_seen is not None and now - pause_seen > PAUSE_GRACE_SECONDS:
        return "paused"
    return None


def _settle(store: Store, lease: Lease, ending: Ending, returncode: int) -> None:
    """Store what the child did not: it is dead by now."""
    if ending == "stopped":
        release(store, lease, crashed=False)
    elif ending == "paused":
        _pause(store, lease, "The job was paused")
    elif ending == "too long":
        limit = store.settings.max_job_seconds
        _give_up(store, lease, "time_limit", f"The job ran longer than {limit} seconds")
    elif ending == "ended" and returncode != 0:  # a job that is lost is somebody else's to settle
        _log.warning("job %s: its child ended with %s", lease.job_id, returncode)
        release(store, lease, crashed=True)


def run_child(store: Store, job_id: str, token: str, verbs: Mapping[str, Verb] = _VERBS) -> int:
    """Be the child: carry the job out and store how it ended; return the exit status."""
    lease = Lease(job_id=job_id, token=token)
    with contextlib.suppress(Cancelled, LeaseLost):
        try:
            with fenced(store, lease) as (_, job):
                verb = verbs[job.kind]
            verb(store, job, lease)
        except Paused:
            _pause(store, lease, "The job was paused")
        except Interrupted:
            raise
        except SelftuneError as failure:
            _fail(store, lease, failure)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _wait_for_space(store, lease)
    return 0


def _wait_for_space(store: Store, lease: Lease) -> None:
    """Pause a job that found the disk full, so that its checkpoints are there when it is not.

    A run of an eval or a batch has no checkpoints, and nobody could resume it.
    """
    with fenced(store, lease) as (_, job):
        is_running = job.status in ("running", "pausing") and job.kind == KIND
    text = "The server's disk is full. Free space, then "
    if is_running:
        _pause(store, lease, text + "resume the job: it goes on from its last checkpoint")
    else:
        _fail(store, lease, JobFailed(text + "create the job again", code="disk_full"))


def _pause(store: Store, lease: Lease, message: str) -> None:
    with fenced(store, lease) as (connection, job):
        event = NewEvent(key=f"paused-{lease.token}", message=message, level="warn")
        append_events(store, connection, job.id, (event,))
        move(store, connection, job, "paused")


def _fail(store: Store, lease: Lease, failure: SelftuneError) -> None:
    message = store.told(failure.message)
    error = JobError(code=failure.code or "server_error", message=message, param=failure.param)
    with fenced(store, lease) as (connection, job):
        event = NewEvent(key="failed", message=message, level="error")
        append_events(store, connection, job.id, (event,))
        move(store, connection, job, "failed", error=error)


def _give_up(store: Store, lease: Lease, code: str, what: str) -> None:
    message = f"{what}. See logs/{lease.job_id}.log in the home folder; what it had made is kept."
    _fail(store, lease, JobFailed(message, code=code))
    forget_run(store, lease.job_id)


def main(arguments: list[str] | None = None, verbs: Mapping[str, Verb] = _VERBS) -> int:
    """Run the worker, or with `run JOB TOKEN` the child, which knows these verbs."""
    parser = argparse.ArgumentParser(prog="selftune-worker")
    commands = parser.add_subparsers(dest="command")
    run = commands.add_parser("run")
    run.add_argument("job_id")
    run.add_argument("token")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    processes.die_with_parent()
    # Unseeded ids: seeded ones would repeat those of the server
    store = open_store(load_settings(), ids=IdSource())
    if parsed.command == "run":
        return run_child(store, parsed.job_id, parsed.token, verbs)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    work(store, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
