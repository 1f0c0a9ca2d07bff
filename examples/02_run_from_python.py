"""What `selftune run examples/persona/run.toml` does, from Python: data, tune, prove, report.

No server is needed: the work is done by a child of this process, in the home folder SELFTUNE_HOME
(default ~/.selftune). `selftune.workflow` has each step as a function of its own.
"""

from pathlib import Path

from selftune import local
from selftune.core.records import Event

RUN_FILE = Path(__file__).parent / "persona" / "run.toml"


class Told(local.Progress):
    """Prints each stage, and what the job says of itself; the many steps are left out."""

    def stage(self, text: str) -> None:
        """Hear that a stage begins."""
        print(text)

    def events(self, new: tuple[Event, ...]) -> None:
        """Hear a job's new events."""
        for event in new:
            if event.type != "metrics":
                print(f"  {event.message}")


report, written = local.run(RUN_FILE, progress=Told())

print(report.comparisons[0].words)
print(f"model:  {report.arms[-1].summary.model}")
print(f"report: {written.html}")
