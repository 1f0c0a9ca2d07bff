"""Files: records of uploaded and produced bytes, one project each."""

from typing import Literal

from sqlalchemy import Connection, func, select

from selftune.core.errors import InvalidInput, LimitExceeded, NotFound, Unavailable
from selftune.core.pages import Page, page_of
from selftune.core.records import File
from selftune.store.schema import files, upload_parts
from selftune.store.store import Store

Order = Literal["asc", "desc"]
_COLUMNS = [column for column in files.c if column.name != "position"]


def save_file(store: Store, file: File) -> None:
    """Store a file's record; its blob is there already.

    Raises:
        LimitExceeded: the project keeps as many files as it may.

    """
    with store.db.write() as connection:
        insert_file(store, connection, file)


def insert_file(store: Store, connection: Connection, file: File) -> None:
    """Store a file's record in a transaction of the caller's."""
    require_blob(store, connection, file.sha256)
    count = select(func.count()).select_from(files).where(files.c.project_id == file.project_id)
    if connection.execute(count).scalar_one() >= store.settings.max_files:
        raise LimitExceeded(
            f"This project keeps {store.settings.max_files} files already: delete some first.",
            code="file_limit_exceeded",
        )
    connection.execute(files.insert().values(file.model_dump()))


def get_file(store: Store, project_id: str, file_id: str) -> File:
    """Return one file of a project.

    Raises:
        NotFound: in OpenAI's words.

    """
    with store.db.read() as connection:
        row = connection.execute(
            select(*_COLUMNS).where(files.c.id == file_id, files.c.project_id == project_id)
        ).first()
    if row is None or (row.expires_at is not None and row.expires_at <= store.now()):
        raise NotFound(f"No such File object: {file_id}", param="id")
    return File.model_validate(dict(row._mapping))


def list_files(
    store: Store,
    project_id: str,
    *,
    purpose: str | None = None,
    after: str | None = None,
    limit: int = 10_000,
    order: Order = "desc",
) -> Page[File]:
    """Return a page of files, newest first unless asked otherwise."""
    query = select(*_COLUMNS).where(files.c.project_id == project_id)
    query = query.where(files.c.expires_at.is_(None) | (files.c.expires_at > store.now()))
    if purpose is not None:
        query = query.where(files.c.purpose == purpose)
    with store.db.read() as connection:
        if after is not None:
            mark = connection.execute(
                select(files.c.position).where(
                    files.c.id == after, files.c.project_id == project_id
                )
            ).scalar()
            if mark is None:
                raise InvalidInput(f"No such File object: {after}", param="after")
            newer = files.c.position > mark
            query = query.where(newer if order == "asc" else files.c.position < mark)
        direction = files.c.position.asc() if order == "asc" else files.c.position.desc()
        rows = connection.execute(query.order_by(direction).limit(limit + 1)).all()
    return page_of([File.model_validate(dict(row._mapping)) for row in rows], limit)


def delete_file(store: Store, project_id: str, file_id: str) -> None:
    """Remove a file's record, and its bytes unless another record needs them."""
    file = get_file(store, project_id, file_id)
    with store.db.write() as connection:
        connection.execute(
            files.delete().where(files.c.id == file.id, files.c.project_id == project_id)
        )
    drop_blob(store, file.sha256)


def expire_files(store: Store) -> int:
    """Delete the files whose time is over; return how many."""
    over = files.c.expires_at <= store.now()
    with store.db.write() as connection:
        names = connection.execute(files.delete().where(over).returning(files.c.sha256)).scalars()
        expired = list(names)
    for sha256 in expired:
        drop_blob(store, sha256)
    return len(expired)


def require_blob(store: Store, connection: Connection, sha256: str) -> None:
    """Make sure that the bytes a new record refers to stay; `drop_blob` waits for the commit.

    Raises:
        Unavailable: the last other record of the same bytes was removed at this very moment.

    """
    store.db.lock(connection, sha256)
    if not store.blobs.exists(sha256):
        raise Unavailable("The file's bytes were just removed: send them again.")


def drop_blob(store: Store, sha256: str) -> None:
    """Remove bytes that no record refers to. The records are committed, so a crash loses none."""
    with store.db.write() as connection:
        store.db.lock(connection, sha256)
        if not _is_needed(connection, sha256):
            store.blobs.delete(sha256)


def drop_unneeded_blobs(store: Store, *, older_than_seconds: float = 86_400.0) -> int:
    """Remove bytes that a crash left without a record; return how many."""
    dropped = 0
    for sha256 in list(store.blobs.names()):
        with store.db.read() as connection:
            needed = _is_needed(connection, sha256)
        if not needed and store.blobs.age(sha256) > older_than_seconds:
            drop_blob(store, sha256)
            dropped += 1
    return dropped


def _is_needed(connection: Connection, sha256: str) -> bool:
    return any(
        connection.execute(select(table.c.id).where(table.c.sha256 == sha256).limit(1)).first()
        for table in (files, upload_parts)
    )
