"""Remove what work leaves behind: a job's scratch when it has ended, and what a kill left."""

import shutil
from pathlib import Path

from selftune.jobs.queue import ended_jobs
from selftune.store.models import folders_in_use
from selftune.store.store import Store

_DAY = 86_400
STEP_MARK = "-step-"
"""Between the job and the step in the name of a model's folder."""


def forget_run(store: Store, job_id: str) -> None:
    """Remove what only a running job needs; its checkpoints' models stay."""
    shutil.rmtree(store.root / "runs" / job_id, ignore_errors=True)


def remove_leftovers(store: Store) -> None:
    """Remove the scratch of ended jobs, models that they never recorded, and logs of long ago."""
    runs = [path.name for path in store.folder("runs").iterdir()]
    for job_id in ended_jobs(store, runs):
        forget_run(store, job_id)
    folders = {path.name: path.name.rpartition(STEP_MARK)[0] for path in _model_folders(store)}
    ended = ended_jobs(store, sorted(set(folders.values())))
    # Asked for after the jobs were seen to have ended: nothing is recorded for them from then on.
    in_use = folders_in_use(store)
    for name, job_id in folders.items():
        if job_id in ended and f"models/{name}" not in in_use:
            shutil.rmtree(store.root / "models" / name, ignore_errors=True)
    _remove_old_logs(store)


def _remove_old_logs(store: Store) -> None:
    """Remove the logs of jobs that ended long ago; a server's own logs are not named after jobs."""
    logs = {path.stem: path for path in store.folder("logs").glob("*.log")}
    before = store.now() - store.settings.keep_logs_days * _DAY
    for job_id in ended_jobs(store, sorted(logs), before=before):
        logs[job_id].unlink(missing_ok=True)


def _model_folders(store: Store) -> list[Path]:
    return [path for path in store.folder("models").iterdir() if path.is_dir()]
