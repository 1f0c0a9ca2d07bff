"""Large files in parts."""

from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import Storable, answer, body_of, context, identity, run_in_threadpool
from selftune.api.files.wire import checked_purpose, expiry_seconds, file_json
from selftune.api.multipart import receive_form
from selftune.api.routing import Router
from selftune.api.spec_profile import part_ids_or_placeholder, upload_or_placeholder
from selftune.core.errors import InvalidInput, TooLarge
from selftune.core.records import File, Upload, UploadPart
from selftune.store.blobs import CHUNK_BYTES, Blob
from selftune.store.files import get_file
from selftune.store.store import Store
from selftune.store.uploads import (
    cancel_upload,
    complete_upload,
    get_parts,
    save_part,
    save_upload,
)

router = Router("/v1/uploads")
_HOUR = 3600
_MOST_BYTES = 8 * 1024**3
_MOST_PART_BYTES = 64 * 1024**2


class CreateUpload(BaseModel):
    """What a caller announces."""

    filename: Storable
    purpose: str
    bytes: int
    mime_type: Storable
    expires_after: dict[str, Any] | None = None


class CompleteUpload(BaseModel):
    """The parts in order."""

    part_ids: list[str]
    md5: str | None = None


@router.post("")
async def create(request: Request) -> Response:
    """Open an upload."""
    wanted = await body_of(request, CreateUpload)
    return answer(upload_json(await run_in_threadpool(_create, request, wanted)))


@router.post("/{upload_id}/parts")
async def add_part(request: Request, upload_id: str) -> Response:
    """Store one part."""
    store = context(request).store
    upload = await run_in_threadpool(upload_or_placeholder, request, upload_id)
    async with receive_form(
        request, store.blobs, file_field="data", most_bytes=_MOST_PART_BYTES
    ) as (form, writer):
        if not form.has_file and "data" not in form.fields:
            raise InvalidInput("'data' is a required property", param="data")
        blob = await run_in_threadpool(writer.commit)
    part = UploadPart(
        id=store.ids.new("part_"),
        upload_id=upload.id,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    await run_in_threadpool(save_part, store, upload.project_id, part)
    return answer(
        {
            "id": part.id,
            "created_at": part.created_at,
            "upload_id": upload.id,
            "object": "upload.part",
        }
    )


@router.post("/{upload_id}/complete")
async def complete(request: Request, upload_id: str) -> Response:
    """Put the parts together."""
    wanted = await body_of(request, CompleteUpload)
    return answer(await run_in_threadpool(_complete, request, upload_id, wanted))


@router.post("/{upload_id}/cancel")
def cancel(request: Request, upload_id: str) -> Response:
    """Drop an upload."""
    upload = upload_or_placeholder(request, upload_id)
    store = context(request).store
    return answer(upload_json(cancel_upload(store, upload.project_id, upload.id)))


def upload_json(upload: Upload, file: File | None = None) -> dict[str, Any]:
    """Return an upload object."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": upload.created_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "expires_at": upload.expires_at,
        "file": None if file is None else file_json(file),
    }


def _create(request: Request, wanted: CreateUpload) -> Upload:
    store = context(request).store
    if not 0 <= wanted.bytes <= _MOST_BYTES:
        raise TooLarge(f"An upload has at most {_MOST_BYTES} bytes.", param="bytes")
    after = wanted.expires_after or {}
    now = store.now()
    upload = Upload(
        id=store.ids.new("upload_"),
        project_id=identity(request).project_id,
        filename=wanted.filename,
        purpose=checked_purpose(wanted.purpose),
        bytes=wanted.bytes,
        mime_type=wanted.mime_type[:255],
        created_at=now,
        expires_at=now + _HOUR,
        file_expires_after=expiry_seconds(
            after.get("anchor"), after.get("seconds"), wanted.purpose
        ),
    )
    save_upload(store, upload)
    return upload


def _complete(request: Request, upload_id: str, wanted: CompleteUpload) -> dict[str, Any]:
    store = context(request).store
    upload = upload_or_placeholder(request, upload_id)
    if upload.status == "completed" and upload.file_id is not None:  # a repeat of the same call
        return upload_json(upload, get_file(store, upload.project_id, upload.file_id))
    part_ids = part_ids_or_placeholder(request, upload, tuple(wanted.part_ids))
    blob = _join(store, upload, part_ids, wanted.md5)
    now, lasts = store.now(), upload.file_expires_after
    file = File(
        id=store.ids.new("file-"),
        project_id=upload.project_id,
        filename=upload.filename,
        purpose=upload.purpose,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=now,
        expires_at=None if lasts is None else now + lasts,
    )
    return upload_json(complete_upload(store, upload, file), file)


def _join(store: Store, upload: Upload, part_ids: tuple[str, ...], md5: str | None) -> Blob:
    """Write the parts one after the other; constant memory."""
    parts = get_parts(store, upload.id, part_ids)
    total = sum(part.bytes for part in parts)
    if total != upload.bytes and upload.bytes:
        raise InvalidInput(
            f"The parts have {total} bytes together; the upload was announced with {upload.bytes}.",
            code="invalid_upload_size",
            param="part_ids",
        )
    with store.blobs.writer() as writer:
        for part in parts:
            with store.blobs.open(part.sha256) as source:
                while chunk := source.read(CHUNK_BYTES):
                    writer.write(chunk)
        if md5 is not None and not _matches(md5, writer.md5.hexdigest()):
            raise InvalidInput("The md5 of the parts is another one.", param="md5")
        return writer.commit()


def _matches(wanted: str, found: str) -> bool:
    return wanted.lower() == found or wanted in ("", "md5")
