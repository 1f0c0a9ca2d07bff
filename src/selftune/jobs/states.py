"""Which state of a job may follow which. Every change of state goes through this table."""

from selftune.core.errors import InvalidInput
from selftune.core.records import JobStatus

MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    "validating_files": frozenset({"queued", "failed", "cancelled"}),
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"queued", "pausing", "paused", "succeeded", "failed", "cancelled"}),
    "pausing": frozenset({"paused", "queued", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

TERMINAL: frozenset[JobStatus] = frozenset(state for state, next_ in MOVES.items() if not next_)
CLAIMABLE: frozenset[JobStatus] = frozenset({"validating_files", "queued", "running", "pausing"})
"""States in which a job needs a worker: `running` too, when the one it had is gone."""


def is_terminal(status: JobStatus) -> bool:
    """Return whether nothing follows."""
    return status in TERMINAL


def check_move(job_id: str, status: JobStatus, wanted: JobStatus) -> None:
    """Refuse a move that the table does not have.

    Raises:
        InvalidInput: names the job, its state and what is possible.

    """
    if wanted in MOVES[status]:
        return
    possible = ", ".join(sorted(MOVES[status])) or "nothing: it is over"
    raise InvalidInput(
        f"Fine-tuning job {job_id} has status '{status}' and cannot become '{wanted}'. "
        f"Possible from here: {possible}.",
        code="invalid_job_state",
        param="fine_tune_id",
    )
