"""Webhooks: endpoints, and an outbox that is written in the transaction that causes an event."""

import base64
import json
import secrets
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Record
from selftune.store.schema import webhook_deliveries, webhook_endpoints
from selftune.store.store import Store


class Endpoint(Record):
    """Where events are sent. The secret signs them."""

    id: str
    project_id: str
    url: str
    secret: str
    created_at: int


class Delivery(Record):
    """One event on its way to one endpoint."""

    position: int
    id: str
    """`webhook-id`: the same on every attempt."""
    url: str
    secret: str
    body: str
    attempts: int


def add_endpoint(store: Store, project_id: str, url: str) -> Endpoint:
    """Register an endpoint with a new secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{url!r} is not an http or https address.", param="url")
    endpoint = Endpoint(
        id=store.ids.new("wh_"),
        project_id=project_id,
        url=url,
        secret="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        created_at=store.now(),
    )
    with store.db.write() as connection:
        connection.execute(webhook_endpoints.insert().values(endpoint.model_dump()))
    return endpoint


def list_endpoints(store: Store, project_id: str) -> tuple[Endpoint, ...]:
    """Return a project's endpoints."""
    with store.db.read() as connection:
        rows = connection.execute(
            select(webhook_endpoints).where(webhook_endpoints.c.project_id == project_id)
        ).all()
    return tuple(Endpoint.model_validate(dict(row._mapping)) for row in rows)


def remove_endpoint(store: Store, project_id: str, endpoint_id: str) -> None:
    """Forget an endpoint and what was still to be sent to it."""
    with store.db.write() as connection:
        owned = webhook_endpoints.c.project_id == project_id
        row = connection.execute(
            select(webhook_endpoints.c.id).where(webhook_endpoints.c.id == endpoint_id, owned)
        ).first()
        if row is None:
            raise NotFound(f"No webhook endpoint has the id {endpoint_id!r}.")
        connection.execute(
            webhook_deliveries.delete().where(webhook_deliveries.c.endpoint_id == endpoint_id)
        )
        connection.execute(webhook_endpoints.delete().where(webhook_endpoints.c.id == endpoint_id))


def publish(
    store: Store, connection: Connection, *, project_id: str, kind: str, object_id: str
) -> None:
    """Put an event into the outbox of every endpoint of a project."""
    rows = connection.execute(
        select(webhook_endpoints.c.id).where(webhook_endpoints.c.project_id == project_id)
    ).all()
    if not rows:
        return
    event_id = store.ids.new("evt_")
    body = {
        "id": event_id,
        "object": "event",
        "created_at": store.now(),
        "type": kind,
        "data": {"id": object_id},
    }
    for (endpoint_id,) in rows:
        connection.execute(
            webhook_deliveries.insert().values(
                id=event_id,
                endpoint_id=endpoint_id,
                body=json.dumps(body),
                attempts=0,
                next_attempt_at=store.clock(),
            )
        )


def claim_delivery(store: Store, *, for_seconds: float) -> Delivery | None:
    """Take the oldest delivery whose time has come; nobody else takes it meanwhile."""
    query = (
        select(
            webhook_deliveries.c.position,
            webhook_deliveries.c.id,
            webhook_endpoints.c.url,
            webhook_endpoints.c.secret,
            webhook_deliveries.c.body,
            webhook_deliveries.c.attempts,
        )
        .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint_id)
        .where(webhook_deliveries.c.next_attempt_at <= store.clock())
        .order_by(webhook_deliveries.c.position)
        .limit(1)
        .with_for_update(skip_locked=True, of=webhook_deliveries)
    )
    with store.db.write() as connection:
        row = connection.execute(query).first()
        if row is None:
            return None
        connection.execute(
            webhook_deliveries.update()
            .where(webhook_deliveries.c.position == row.position)
            .values(next_attempt_at=store.clock() + for_seconds)
        )
    return Delivery.model_validate(dict(row._mapping))


def record_attempt(
    store: Store, delivery: Delivery, *, delivered: bool, next_attempt_at: float | None
) -> None:
    """Note the outcome of one attempt; no next attempt means that it is over."""
    with store.db.write() as connection:
        connection.execute(
            webhook_deliveries.update()
            .where(webhook_deliveries.c.position == delivery.position)
            .values(
                attempts=delivery.attempts + 1,
                delivered_at=store.now() if delivered else None,
                next_attempt_at=None if delivered else next_attempt_at,
            )
        )
