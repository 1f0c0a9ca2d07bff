"""Upload, list, read and delete files."""

import base64
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import answer, context, identity, limit_of, run_in_threadpool
from selftune.api.creations import creation_of
from selftune.api.files.wire import checked_purpose, expiry_seconds, file_json, page_json
from selftune.api.multipart import Form, receive_form
from selftune.api.routing import Router
from selftune.api.spec_profile import file_or_placeholder
from selftune.core.errors import InvalidInput
from selftune.core.records import File
from selftune.store.blobs import Blob
from selftune.store.creations import recall, remember
from selftune.store.files import delete_file, get_file, insert_file, list_files
from selftune.store.store import Store
from selftune.train.results import PURPOSE as RESULTS

router = Router("/v1/files")
_MOST_LISTED = 10_000


@router.post("")
async def create(request: Request) -> Response:
    """Store an uploaded file."""
    store = context(request).store
    most = store.settings.max_file_bytes
    async with receive_form(request, store.blobs, file_field="file", most_bytes=most) as received:
        form, writer = received
        purpose = _checked(form)
        blob = await run_in_threadpool(writer.commit)
    file = _file(store, identity(request).project_id, form, purpose, blob)
    saved = await run_in_threadpool(_save, request, store, file)
    return answer(file_json(saved))


@router.get("")
def listing(request: Request) -> Response:
    """Return a page of files."""
    query = request.query_params
    page = list_files(
        context(request).store,
        identity(request).project_id,
        purpose=query.get("purpose"),
        after=None if context(request).is_spec_profile else query.get("after"),
        limit=limit_of(request, _MOST_LISTED, _MOST_LISTED),
        order="asc" if query.get("order") == "asc" else "desc",
    )
    return answer(page_json(page))


@router.get("/{file_id}")
def retrieve(request: Request, file_id: str) -> Response:
    """Return one file's record."""
    return answer(file_json(file_or_placeholder(request, file_id)))


@router.delete("/{file_id}")
def delete(request: Request, file_id: str) -> Response:
    """Delete a file."""
    file = file_or_placeholder(request, file_id)
    delete_file(context(request).store, identity(request).project_id, file.id)
    return answer({"id": file_id, "object": "file", "deleted": True})


@router.get("/{file_id}/content")
def content(request: Request, file_id: str) -> Response:
    """Return a file's bytes; result files in base64, as OpenAI's own API does."""
    store = context(request).store
    file = file_or_placeholder(request, file_id)
    with store.blobs.open(file.sha256) as handle:
        data = handle.read()
    if file.purpose == RESULTS and store.settings.result_file_encoding == "base64":
        data = base64.b64encode(data)
    name = quote(file.filename, safe=" ()[]{}!#$&+,-.=@^_~")
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


def _checked(form: Form) -> str:
    if not form.has_file:
        raise InvalidInput("'file' is a required property", param="file")
    purpose = checked_purpose(form.fields.get("purpose"))
    name = form.filename or "upload"
    if "\0" in name:
        raise InvalidInput("The file's name has a NUL character: leave it out.", param="file")
    if purpose in ("fine-tune", "batch") and not name.lower().endswith(".jsonl"):
        which = "Batch API" if purpose == "batch" else "Fine-Tuning API"
        raise InvalidInput(f"Invalid file format for {which}. Must be .jsonl", param="file")
    return purpose


def _file(store: Store, project_id: str, form: Form, purpose: str, blob: Blob) -> File:
    now = store.now()
    fields = form.fields
    lasts = expiry_seconds(
        fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]"), purpose
    )
    return File(
        id=store.ids.new("file-"),
        project_id=project_id,
        filename=form.filename or "upload",
        purpose=purpose,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=now,
        expires_at=None if lasts is None else now + lasts,
    )


def _save(request: Request, store: Store, file: File) -> File:
    creation = creation_of(request, [file.filename, file.purpose, file.sha256])
    with store.db.write() as connection:
        earlier = recall(store, connection, creation)
        if earlier is None:
            insert_file(store, connection, file)
            remember(store, connection, creation, file.id)
    return get_file(store, file.project_id, earlier or file.id)
