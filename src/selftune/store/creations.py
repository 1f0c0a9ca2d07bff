"""Which create requests were carried out already.

The SDKs send a create again after a timeout, without an idempotency key; but they say so in
`x-stainless-retry-count`. A repeat that says so, with the same body as a create of the last
minutes, gets the object that the first one made. An `Idempotency-Key` works for any client.
"""

from sqlalchemy import Connection, select

from selftune.core.errors import Conflict
from selftune.core.records import Record
from selftune.store.schema import creations
from selftune.store.store import Store

RETRY_WINDOW_SECONDS = 15 * 60


class Creation(Record):
    """A create request: what it asks, and whether it says that it is a repeat."""

    project_id: str
    fingerprint: str
    """SHA-256 of method, path and body."""
    is_retry: bool = False
    idempotency_key: str | None = None


def recall(store: Store, connection: Connection, creation: Creation) -> str | None:
    """Return the id that an earlier attempt of this create made, if there was one.

    Raises:
        Conflict: the idempotency key was used for another request.

    """
    store.db.lock(connection, f"create {creation.project_id} {creation.fingerprint}")
    if creation.idempotency_key is not None:
        row = connection.execute(
            select(creations).where(
                creations.c.project_id == creation.project_id,
                creations.c.idempotency_key == creation.idempotency_key,
            )
        ).first()
        if row is not None and row.fingerprint != creation.fingerprint:
            raise Conflict(
                f"Idempotency-Key {creation.idempotency_key!r} was used for another request: "
                "send a new key with a new request.",
                code="idempotency_key_reused",
            )
        return row.object_id if row is not None else None
    if not creation.is_retry:
        return None
    return connection.execute(
        select(creations.c.object_id)
        .where(
            creations.c.project_id == creation.project_id,
            creations.c.fingerprint == creation.fingerprint,
            creations.c.created_at > store.clock() - RETRY_WINDOW_SECONDS,
        )
        .order_by(creations.c.position.desc())
        .limit(1)
    ).scalar()


def remember(store: Store, connection: Connection, creation: Creation, object_id: str) -> None:
    """Record what a create made, in the transaction that makes it; forget what is too old."""
    now = store.clock()
    connection.execute(
        creations.delete().where(creations.c.created_at < now - 96 * RETRY_WINDOW_SECONDS)
    )
    connection.execute(
        creations.insert().values(
            project_id=creation.project_id,
            fingerprint=creation.fingerprint,
            idempotency_key=creation.idempotency_key,
            object_id=object_id,
            created_at=now,
        )
    )
