"""The profile for the SDKs' own test files, which name objects that nobody made.

With `SELFTUNE_PROFILE=spec` an object that a request names and that is not there is made on the
spot. In the standard profile every function here is the plain lookup.
"""

from starlette.requests import Request

from selftune.api.context import context, identity
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import File, Job, Upload, UploadPart, Usage
from selftune.jobs.queue import get_job
from selftune.store.completions import (
    Kind,
    StoredChoice,
    StoredCompletion,
    get_completion,
    save_completion,
)
from selftune.store.files import get_file, save_file
from selftune.store.store import Store
from selftune.store.uploads import get_upload, save_part, save_upload
from selftune.train.create import KIND, FinetuneRequest, create_finetuning_job

_HOUR = 3600
_ROW = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'


def file_or_placeholder(request: Request, file_id: str) -> File:
    """Return a file."""
    parts = context(request)
    project_id = identity(request).project_id
    try:
        return get_file(parts.store, project_id, file_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    return _make_file(parts.store, project_id, file_id)


def upload_or_placeholder(request: Request, upload_id: str) -> Upload:
    """Return an upload."""
    parts = context(request)
    project_id = identity(request).project_id
    try:
        found = get_upload(parts.store, project_id, upload_id)
        if found.status == "pending" or not parts.is_spec_profile:
            return found
        upload_id = parts.store.ids.new("upload_")
    except NotFound:
        if not parts.is_spec_profile:
            raise
    now = parts.store.now()
    upload = Upload(
        id=upload_id,
        project_id=project_id,
        filename="placeholder.jsonl",
        purpose="fine-tune",
        bytes=0,
        mime_type="text/jsonl",
        created_at=now,
        expires_at=now + _HOUR,
    )
    save_upload(parts.store, upload)
    return upload


def part_ids_or_placeholder(
    request: Request, upload: Upload, part_ids: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the ids of an upload's parts."""
    parts = context(request)
    if not parts.is_spec_profile:
        return part_ids
    with parts.store.blobs.writer() as writer:
        writer.write(_ROW)
        blob = writer.commit()
    part = UploadPart(
        id=parts.store.ids.new("part_"),
        upload_id=upload.id,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=parts.store.now(),
    )
    save_part(parts.store, upload.project_id, part)
    return (part.id,)


def job_or_placeholder(request: Request, job_id: str) -> Job:
    """Return a fine-tuning job."""
    parts, caller = context(request), identity(request)
    try:
        return get_job(parts.store, caller.project_id, job_id, kind=KIND)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    file = file_or_placeholder(request, "file-abc123")
    wanted = FinetuneRequest(model="selftune/fake", training_file=file.id)
    return create_finetuning_job(parts.store, caller, wanted)


def without_services(request: Request, wanted: FinetuneRequest) -> FinetuneRequest:
    """Leave out the services that a job is shown in: the SDK's tests name one and give no key."""
    if not context(request).is_spec_profile:
        return wanted
    return wanted.model_copy(update={"integrations": ()})


def completion_or_placeholder(request: Request, kind: Kind, completion_id: str) -> StoredCompletion:
    """Return a stored chat or response."""
    parts, caller = context(request), identity(request)
    try:
        return get_completion(parts.store, caller.project_id, kind, completion_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    message = {"role": "assistant", "content": "a"}  # the SDK's type of a message has no other role
    found = StoredCompletion(
        id=completion_id,
        project_id=caller.project_id,
        kind=kind,
        model="selftune/fake",
        created_at=parts.store.now(),
        messages=(message,),
        choices=(StoredChoice(message=message, finish_reason="stop"),),
        usage=Usage(prompt_tokens=1, completion_tokens=1),
        options={"temperature": 1.0, "top_p": 1.0},
    )
    save_completion(parts.store, found)
    return found


def files_or_placeholders(request: Request, *file_ids: str | None) -> None:
    """Make the named files exist."""
    if context(request).is_spec_profile:
        for file_id in file_ids:
            if file_id is not None:
                file_or_placeholder(request, file_id)


def is_placeholder_model(request: Request, name: str) -> bool:
    """Return whether a model that is not there may be named."""
    return context(request).is_spec_profile and bool(name)


def tolerated(request: Request, error: InvalidInput) -> None:
    """Raise an error of state, unless the SDK's tests move jobs as they like."""
    if not context(request).is_spec_profile:
        raise error


def _make_file(store: Store, project_id: str, file_id: str) -> File:
    with store.blobs.writer() as writer:
        for _ in range(10):
            writer.write(_ROW)
        blob = writer.commit()
    file = File(
        id=file_id,
        project_id=project_id,
        filename="placeholder.jsonl",
        purpose="fine-tune",
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    save_file(store, file)
    return file
