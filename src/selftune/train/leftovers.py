"""Remove what work leaves behind: a job's scratch when it has ended, and what a kill left."""

import shutil
from pathlib import Path

from selftune.jobs.queue import ended_jobs
from selftune.store.models import folders_in_use
from selftune.store.store import Store

_DAY = 86_400
STEP_MARK = "-step-"
"""Between the job and the step in the name of a model's folder."""


def scratch_folder(store: Store, job_id: str) -> Path:
    """Return the folder for whatever a job needs until its end; it exists."""
    folder = store.folder("runs") / job_id / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def forget_run(store: Store, job_id: str) -> None:
    """Remove what only a running job needs, and what a kill left of it; its models stay."""
    shutil.rmtree(store.root / "runs" / job_id, ignore_errors=True)
    _remove_unrecorded(store, list(store.folder("models").glob(f"{job_id}{STEP_MARK}*")))


def remove_leftovers(store: Store) -> None:
    """Remove the scratch of ended jobs, models that they never recorded, and logs of long ago."""
    runs = [path.name for path in store.folder("runs").iterdir()]
    for job_id in ended_jobs(store, runs, or_deleted=True):
        shutil.rmtree(store.root / "runs" / job_id, ignore_errors=True)
    jobs = {path: path.name.rpartition(STEP_MARK)[0] for path in _model_folders(store)}
    ended = ended_jobs(store, sorted(set(jobs.values())))
    _remove_unrecorded(store, [path for path, job_id in jobs.items() if job_id in ended])
    _remove_old_logs(store)


def _remove_unrecorded(store: Store, folders: list[Path]) -> None:
    """Remove models of jobs that were seen to have ended: nothing is recorded for them any more."""
    in_use = folders_in_use(store) if folders else set()
    for path in folders:
        if f"models/{path.name}" not in in_use:
            shutil.rmtree(path, ignore_errors=True)


def _remove_old_logs(store: Store) -> None:
    """Remove the logs of jobs that ended long ago; a server's own logs are not named after jobs."""
    logs = {path.stem: path for path in store.folder("logs").glob("*.log")}
    before = store.now() - store.settings.keep_logs_days * _DAY
    for job_id in ended_jobs(store, sorted(logs), before=before):
        logs[job_id].unlink(missing_ok=True)


def _model_folders(store: Store) -> list[Path]:
    return [path for path in store.folder("models").iterdir() if path.is_dir()]
