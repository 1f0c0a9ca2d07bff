"""Remove what work leaves behind: models that are deleted, a job's scratch, and what a kill left.

The folder of a model that was trained whole stays as long as adapters on it, or jobs that go on from
it, need it, whatever became of its record.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from selftune.jobs.queue import ended_jobs, unfinished_states
from selftune.store.models import delete_model, folders_in_use
from selftune.store.store import Store
from selftune.train.create import KIND, START

_DAY = 86_400
STEP_MARK = "-step-"
"""Between the job and the step in the name of a model's folder."""
_BASE = "base.json"
"""In the folder of an adapter: what it was trained on."""


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


def remove_model(store: Store, project_id: str, name: str) -> None:
    """Delete a model, and its folder as soon as nothing stands on it.

    Raises:
        NotFound: the project has no such model.

    """
    remove_folders(store, [str(delete_model(store, project_id, name).folder)])


def remove_folders(store: Store, folders: Iterable[str]) -> None:
    """Remove folders whose records are gone, and what they alone stood on; see above for what stays."""
    given = [store.root / folder for folder in folders]
    bases = {found for path in given if (found := _base_of(store, path)) is not None}
    _remove_unrecorded(store, given)
    jobs = {path: path.name.rpartition(STEP_MARK)[0] for path in bases}
    ended = ended_jobs(store, sorted(set(jobs.values()))) if jobs else set()
    _remove_unrecorded(store, [path for path, job_id in jobs.items() if job_id in ended])


def _remove_unrecorded(store: Store, folders: list[Path]) -> None:
    """Remove models that nothing refers to; of jobs that write no more, or whose records are gone."""
    needed = _needed(store) if folders else set()
    for path in folders:
        if path not in needed:
            shutil.rmtree(path, ignore_errors=True)


def _needed(store: Store) -> set[Path]:
    """Return every folder of a model, and those that models and unfinished jobs stand on."""
    needed = {store.root / folder for folder in folders_in_use(store) if folder}
    states = unfinished_states(store, KIND)
    needed |= {store.root / str(state[START]) for state in states if state.get(START)}
    return needed | {base for path in needed if (base := _base_of(store, path)) is not None}


def _base_of(store: Store, folder: Path) -> Path | None:
    """Return the model of this home that an adapter was trained on."""
    try:
        base = Path(json.loads((folder / _BASE).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    mine = store.folder("models") / base.name
    return mine if base.parent.name == mine.parent.name and STEP_MARK in base.name else None


def _remove_old_logs(store: Store) -> None:
    """Remove the logs of jobs that ended long ago; a server's own logs are not named after jobs."""
    logs = {path.stem: path for path in store.folder("logs").glob("*.log")}
    before = store.now() - store.settings.keep_logs_days * _DAY
    for job_id in ended_jobs(store, sorted(logs), before=before):
        logs[job_id].unlink(missing_ok=True)


def _model_folders(store: Store) -> list[Path]:
    return [path for path in store.folder("models").iterdir() if path.is_dir()]
