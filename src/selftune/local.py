"""The main job in one call, in this process's care: from a run file to a proven model.

The work itself is done by a child process, as for the server; if a worker of a running server takes
the job first, this waits for it. A run file that names a profile is trained at that provider.
"""

from pathlib import Path

from selftune import workflow
from selftune.core.errors import JobFailed
from selftune.core.records import Event
from selftune.core.runfile import RunFile, load_run_file
from selftune.core.settings import load_settings
from selftune.evaluate.findings import Report
from selftune.evaluate.report import read_report
from selftune.evaluate.task import Progress as Asked
from selftune.evaluate.write import ReportFiles, write_report
from selftune.jobs.events import hand_on
from selftune.prove.home import Home
from selftune.store.accounts import default_identity
from selftune.store.store import Store, open_store
from selftune.train.remote.training import Hearing
from selftune.worker import run_until_done


class Progress:
    """Hears how a run goes; this one keeps silent."""

    def stage(self, text: str) -> None:
        """Hear that a stage begins."""

    def events(self, new: tuple[Event, ...]) -> None:
        """Hear a job's new events."""

    def answered(self, progress: Asked) -> None:
        """Hear how far the questions are."""


def run(
    path: Path,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    again: bool = False,
) -> tuple[Report, ReportFiles]:
    """Prepare, tune, evaluate base and tuned on the same items, and write the report.

    A job at a provider that an earlier run of the same file began is gone on with, unless `again`.

    Raises:
        InvalidInput: the run file, the data or the model's name; says where.
        JobFailed: training could not succeed; its words are the job's error.

    """
    store = store or open_store(load_settings())
    told = progress or Progress()
    home = Home(store.settings, store, default_identity(store))
    spec = load_run_file(path)
    told.stage(f"Preparing {spec.name}")
    prepared = workflow.prepare(spec, path.parent)
    if spec.model.profile is None:
        trained = _train_here(home, spec, prepared, told)
    else:
        hearing = Hearing(stage=told.stage, events=told.events)
        trained = workflow.train_elsewhere(home, spec, prepared, hearing, again=again)
    told.stage(f"Asking base and tuned model {len(prepared.items)} questions each")
    folder = workflow.prove(home, spec, prepared, trained, told.answered)
    report = read_report(folder)
    return report, write_report(report, folder.path)


def _train_here(
    home: Home, spec: RunFile, prepared: workflow.Prepared, told: Progress
) -> workflow.Trained:
    store, identity = home.store, home.identity
    job = workflow.start(store, identity, spec, prepared)
    told.stage(f"Tuning {prepared.rows} rows")
    hear = hand_on(store, job, lambda _, new: told.events(new))
    job = run_until_done(store, job.id, identity.project_id, hear)
    if job.status != "succeeded":
        words = job.error.message if job.error else f"The job was {job.status}"
        code = job.error.code if job.error else job.status
        hint = f" See `selftune jobs show {job.id}`."
        raise JobFailed(words + hint, code=code)
    return workflow.trained_here(store, spec, job)
