"""The main job in one call, in this process's care: from a run file to a proven model.

The work itself is done by a child process, as for the server; if a worker of a running server takes
the job first, this waits for it.
"""

from pathlib import Path

from selftune import workflow
from selftune.core.errors import JobFailed
from selftune.core.records import Event, Job
from selftune.core.runfile import load_run_file
from selftune.core.settings import load_settings
from selftune.evaluate.findings import Report
from selftune.evaluate.report import read_report
from selftune.evaluate.task import Progress as Asked
from selftune.evaluate.write import ReportFiles, write_report
from selftune.jobs.events import hand_on
from selftune.prove.home import Home
from selftune.store.accounts import default_identity
from selftune.store.store import Store, open_store
from selftune.worker import run_until_done


class Progress:
    """Hears how a run goes; this one keeps silent."""

    def stage(self, text: str) -> None:
        """Hear that a stage begins."""

    def events(self, job: Job, new: tuple[Event, ...]) -> None:
        """Hear a job's new events."""

    def answered(self, progress: Asked) -> None:
        """Hear how far the questions are."""


def run(
    path: Path, *, store: Store | None = None, progress: Progress | None = None
) -> tuple[Report, ReportFiles]:
    """Prepare, tune, evaluate base and tuned on the same items, and write the report.

    Raises:
        InvalidInput: the run file, the data or the model's name; says where.
        JobFailed: training could not succeed; its words are the job's error.

    """
    store = store or open_store(load_settings())
    told = progress or Progress()
    identity = default_identity(store)
    spec = load_run_file(path)
    told.stage(f"Preparing {spec.name}")
    prepared = workflow.prepare(spec, path.parent)
    job = workflow.start(store, identity, spec, prepared)
    told.stage(f"Tuning {prepared.rows} rows")
    job = run_until_done(store, job.id, identity.project_id, hand_on(store, job, told.events))
    if job.status != "succeeded":
        words = job.error.message if job.error else f"The job was {job.status}"
        code = job.error.code if job.error else job.status
        hint = f" See `selftune jobs show {job.id}`."
        raise JobFailed(words + hint, code=code)
    told.stage(f"Asking base and tuned model {len(prepared.items)} questions each")
    home = Home(store.settings, store, identity)
    folder = workflow.prove(home, spec, prepared, job, told.answered)
    report = read_report(folder)
    return report, write_report(report, folder.path)
