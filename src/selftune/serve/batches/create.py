"""Create and cancel batches: all that happens before and after the work."""

from selftune.core.errors import Conflict
from selftune.core.records import Identity, Job, Record
from selftune.jobs.events import NewEvent
from selftune.jobs.queue import BATCH, cancel_unless_owned, enqueue, held_job
from selftune.jobs.states import is_terminal
from selftune.store.batches import Batch, get_batch, get_batch_in, insert_batch, note_batch
from selftune.store.creations import Creation, recall, remember
from selftune.store.store import Store

ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions")
WINDOW = "24h"
_WINDOW_SECONDS = 86_400


class BatchRequest(Record):
    """What a caller asks for."""

    input_file_id: str
    endpoint: str
    output_seconds: int | None = None
    metadata: dict[str, str] | None = None


def create_batch(
    store: Store, identity: Identity, wanted: BatchRequest, creation: Creation
) -> Batch:
    """Save a batch that a worker will take; its file is read then."""
    now = store.now()
    batch = Batch(
        id=store.ids.new("batch_"),
        project_id=identity.project_id,
        endpoint=wanted.endpoint,
        input_file_id=wanted.input_file_id,
        completion_window=WINDOW,
        status="queued",
        created_at=now,
        expires_at=now + _WINDOW_SECONDS,
        output_seconds=wanted.output_seconds,
    )
    job = Job(
        id=batch.id,
        project_id=batch.project_id,
        kind=BATCH,
        status=batch.status,
        spec={"input_file_id": wanted.input_file_id},
        metadata=wanted.metadata,
        created_at=now,
    )
    with store.db.write() as connection:
        earlier = recall(store, connection, creation)
        if earlier is None:
            created = NewEvent(key="created", message=f"Created batch: {batch.id}")
            enqueue(store, connection, job, (created,))
            insert_batch(connection, batch)
            remember(store, connection, creation, batch.id)
    return get_batch(store, identity.project_id, earlier or batch.id)


def status_of(batch: Batch) -> str:
    """Return a batch's status in OpenAI's words."""
    if batch.status == "succeeded":
        return "completed" if batch.expired_at is None else "expired"
    if is_terminal(batch.status):
        return batch.status
    for time, word in (
        (batch.cancelling_at, "cancelling"),
        (batch.finalizing_at, "finalizing"),
        (batch.in_progress_at, "in_progress"),
    ):
        if time is not None:
            return word
    return "validating"


def cancel_batch(store: Store, batch: Batch) -> Batch:
    """End a batch that no worker has; ask the worker to end one that runs, and keep its answers.

    Raises:
        Conflict: it has ended by itself.

    """
    with store.db.write() as connection:
        job = held_job(connection, batch.id)
        now = get_batch_in(connection, batch.id)
        if is_terminal(now.status) and now.status != "cancelled":
            raise Conflict(
                f"Cannot cancel a batch with status '{status_of(now)}'.", code="batch_has_ended"
            )
        if now.status != "cancelled" and now.cancelling_at is None:
            note_batch(connection, batch.id, cancelling_at=store.now())
            if now.in_progress_at is None:
                cancel_unless_owned(store, connection, job)
        return get_batch_in(connection, batch.id)
