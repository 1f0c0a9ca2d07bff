"""Checkpoints of jobs. One that is not recorded here does not exist, whatever the disk holds."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from selftune.core.errors import InvalidInput
from selftune.core.pages import Page, page_of
from selftune.core.records import Checkpoint
from selftune.store.schema import checkpoints, models, permissions
from selftune.store.store import Store


def insert_checkpoint(
    connection: Connection, checkpoint: Checkpoint, *, state_folder: str, servable: bool
) -> bool:
    """Store a checkpoint in a transaction of the caller's; return False if it was there."""
    known = connection.execute(
        select(checkpoints.c.id).where(
            checkpoints.c.job_id == checkpoint.job_id, checkpoints.c.step == checkpoint.step
        )
    ).first()
    if known is not None:
        return False
    values = checkpoint.model_dump() | {
        "metrics": json.dumps(checkpoint.metrics),
        "state_folder": state_folder,
        "servable": int(servable),
    }
    connection.execute(checkpoints.insert().values(values))
    return True


def retire_checkpoints(connection: Connection, job_id: str, *, keep: int) -> tuple[str, ...]:
    """Make checkpoints of all but the last `keep` epochs unservable; return their folders.

    An epoch has two or more where a job was paused in its middle.
    """
    rows = connection.execute(
        select(checkpoints.c.model, checkpoints.c.folder, checkpoints.c.epoch).where(
            checkpoints.c.job_id == job_id, checkpoints.c.servable == 1
        )
    ).all()
    kept = sorted({row.epoch for row in rows})[-keep:]
    return _retire(connection, job_id, [row for row in rows if row.epoch not in kept])


def retire_worse_checkpoints(
    connection: Connection, job_id: str, *, keep: int, by: str
) -> tuple[str, ...]:
    """Make all but the best `keep` checkpoints and the newest unservable; return their folders.

    `by` is the metric that tells which are best; of two alike the earlier was trained less and is
    kept. The newest may have none yet, or become the job's model.
    """
    rows = connection.execute(
        select(checkpoints.c.model, checkpoints.c.folder, checkpoints.c.metrics)
        .where(checkpoints.c.job_id == job_id, checkpoints.c.servable == 1)
        .order_by(checkpoints.c.step)
    ).all()
    measured = [(json.loads(row.metrics).get(by), row) for row in rows]
    best = sorted((each for each in measured if each[0] is not None), key=lambda each: -each[0])
    kept = {row.model for _, row in best[:keep]} | {row.model for row in rows[-1:]}
    return _retire(connection, job_id, [row for row in rows if row.model not in kept])


def _retire(connection: Connection, job_id: str, retired: Sequence[Any]) -> tuple[str, ...]:
    """Make the checkpoints of some rows unservable; return their folders."""
    if retired:
        old = [row.model for row in retired]
        connection.execute(
            checkpoints.update()
            .where(checkpoints.c.job_id == job_id, checkpoints.c.model.in_(old))
            .values(servable=0)
        )
        connection.execute(permissions.delete().where(permissions.c.model.in_(old)))
        connection.execute(models.delete().where(models.c.id.in_(old)))
    return tuple(row.folder for row in retired)


def last_state(store: Store, job_id: str) -> str | None:
    """Return the state folder of a job's newest checkpoint, relative to the home folder."""
    with store.db.read() as connection:
        return connection.execute(
            select(checkpoints.c.state_folder)
            .where(checkpoints.c.job_id == job_id)
            .order_by(checkpoints.c.step.desc())
            .limit(1)
        ).scalar()


def list_checkpoints(
    store: Store, job_id: str, *, after: str | None = None, limit: int = 10
) -> Page[Checkpoint]:
    """Return a page of servable checkpoints, highest step first."""
    query = select(checkpoints).where(checkpoints.c.job_id == job_id, checkpoints.c.servable == 1)
    with store.db.read() as connection:
        if after is not None:
            step = connection.execute(
                select(checkpoints.c.step).where(
                    checkpoints.c.id == after, checkpoints.c.job_id == job_id
                )
            ).scalar()
            if step is None:
                raise InvalidInput(f"No such checkpoint: {after}", param="after")
            query = query.where(checkpoints.c.step < step)
        rows = connection.execute(query.order_by(checkpoints.c.step.desc()).limit(limit + 1)).all()
    return page_of([_checkpoint(dict(row._mapping)) for row in rows], limit)


def _checkpoint(values: dict[str, Any]) -> Checkpoint:
    kept = {name: values[name] for name in Checkpoint.model_fields}
    return Checkpoint.model_validate(kept | {"metrics": json.loads(values["metrics"])})
