"""Uploads: large files that arrive in parts, in any order and in parallel."""

from sqlalchemy import Connection, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import File, Upload, UploadPart
from selftune.store.files import drop_blob, insert_file, require_blob
from selftune.store.schema import upload_parts, uploads
from selftune.store.store import Store

_PART_COLUMNS = [column for column in upload_parts.c if column.name != "position"]


def save_upload(store: Store, upload: Upload) -> None:
    """Store a new upload."""
    with store.db.write() as connection:
        connection.execute(uploads.insert().values(upload.model_dump()))


def get_upload(store: Store, project_id: str, upload_id: str) -> Upload:
    """Return one upload; one that is past its hour reads as expired."""
    with store.db.read() as connection:
        return _get(store, connection, project_id, upload_id)


def save_part(store: Store, project_id: str, part: UploadPart) -> None:
    """Store a part of an upload that is still open."""
    with store.db.write() as connection:
        _open(_get(store, connection, project_id, part.upload_id))
        require_blob(store, connection, part.sha256)
        connection.execute(upload_parts.insert().values(part.model_dump()))


def get_parts(store: Store, upload_id: str, part_ids: tuple[str, ...]) -> tuple[UploadPart, ...]:
    """Return the named parts in the order of the names."""
    with store.db.read() as connection:
        rows = connection.execute(
            select(*_PART_COLUMNS).where(upload_parts.c.upload_id == upload_id)
        ).all()
    parts = {row.id: UploadPart.model_validate(dict(row._mapping)) for row in rows}
    missing = [part_id for part_id in part_ids if part_id not in parts]
    if missing or len(set(part_ids)) != len(part_ids):
        raise InvalidInput(
            f"Upload {upload_id!r} has no such part, or it is named twice: {(missing or part_ids)[0]!r}.",
            code="invalid_part",
            param="part_ids",
        )
    return tuple(parts[part_id] for part_id in part_ids)


def complete_upload(store: Store, upload: Upload, file: File) -> Upload:
    """Turn an upload into a file, once."""
    done = upload.model_copy(update={"status": "completed", "file_id": file.id})
    with store.db.write() as connection:
        _open(_get(store, connection, upload.project_id, upload.id))
        insert_file(store, connection, file)
        parts = _finish(connection, done)
    _drop_parts(store, parts)
    return done


def cancel_upload(store: Store, project_id: str, upload_id: str) -> Upload:
    """End an upload and drop its parts."""
    with store.db.write() as connection:
        upload = _get(store, connection, project_id, upload_id)
        _open(upload)
        done = upload.model_copy(update={"status": "cancelled"})
        parts = _finish(connection, done)
    _drop_parts(store, parts)
    return done


def expire_uploads(store: Store) -> int:
    """Drop the parts of uploads that were never completed; return how many uploads."""
    with store.db.write() as connection:
        rows = connection.execute(
            select(uploads).where(
                uploads.c.status == "pending", uploads.c.expires_at <= store.now()
            )
        ).all()
        parts: list[str] = []
        for row in rows:
            upload = Upload.model_validate(dict(row._mapping) | {"status": "expired"})
            parts += _finish(connection, upload)
    _drop_parts(store, parts)
    return len(rows)


def _get(store: Store, connection: Connection, project_id: str, upload_id: str) -> Upload:
    """Return an upload; inside a transaction that writes nobody else changes it meanwhile."""
    row = connection.execute(
        select(uploads)
        .where(uploads.c.id == upload_id, uploads.c.project_id == project_id)
        .with_for_update()
    ).first()
    if row is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="upload_id")
    upload = Upload.model_validate(dict(row._mapping))
    if upload.status == "pending" and upload.expires_at <= store.now():
        return upload.model_copy(update={"status": "expired"})
    return upload


def _open(upload: Upload) -> None:
    if upload.status != "pending":
        raise InvalidInput(
            f"Upload {upload.id!r} is {upload.status}: only a pending upload can be changed.",
            code="upload_not_pending",
            param="upload_id",
        )


def _finish(connection: Connection, upload: Upload) -> list[str]:
    """Store an upload's end; return the blobs of its parts, to drop after the commit."""
    of_upload = upload_parts.c.upload_id == upload.id
    parts = connection.execute(
        upload_parts.delete().where(of_upload).returning(upload_parts.c.sha256)
    ).scalars()
    names = list(parts)
    connection.execute(
        uploads.update()
        .where(uploads.c.id == upload.id)
        .values(status=upload.status, file_id=upload.file_id)
    )
    return names


def _drop_parts(store: Store, names: list[str]) -> None:
    for sha256 in names:
        drop_blob(store, sha256)
