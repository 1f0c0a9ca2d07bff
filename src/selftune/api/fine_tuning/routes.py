"""Create, list, read and steer fine-tuning jobs."""

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.archive.bring import bring_file, refuse_archived_base
from selftune.api.context import (
    answer,
    body_of,
    context,
    identity,
    limit_of,
    run_in_threadpool,
)
from selftune.api.creations import creation_of
from selftune.api.fine_tuning.wire import (
    CreateJob,
    checkpoints_json,
    event_json,
    job_json,
)
from selftune.api.lists import after_of
from selftune.api.metadata import wanted_metadata
from selftune.api.routing import Router
from selftune.api.spec_profile import (
    files_or_placeholders,
    job_or_placeholder,
    tolerated,
    without_services,
)
from selftune.core.errors import InvalidInput
from selftune.core.records import Job
from selftune.jobs.events import list_events
from selftune.jobs.queue import JobQuery, cancel_job, list_jobs, request_pause, resume_job
from selftune.store.checkpoints import list_checkpoints
from selftune.train.create import KIND
from selftune.workflow import create_finetuning_job

router = Router("/v1/fine_tuning/jobs")
_MOST_LISTED = 100


@router.post("")
async def create(request: Request) -> Response:
    """Save a job; a worker takes it."""
    wanted = await body_of(request, CreateJob)
    return await run_in_threadpool(_create, request, wanted)


@router.get("")
def listing(request: Request) -> Response:
    """Return a page of jobs."""
    caller = identity(request)
    page = list_jobs(context(request).store, caller.project_id, KIND, _query(request))
    return answer(
        {
            "object": "list",
            "data": [job_json(job, caller) for job in page.data],
            "has_more": page.has_more,
        }
    )


@router.get("/{job_id}")
def retrieve(request: Request, job_id: str) -> Response:
    """Return one job."""
    return _job(request, job_or_placeholder(request, job_id))


@router.post("/{job_id}/cancel")
def cancel(request: Request, job_id: str) -> Response:
    """Ask for a job's end."""
    store, job = context(request).store, job_or_placeholder(request, job_id)
    try:
        job = cancel_job(store, job.project_id, job.id)
    except InvalidInput as error:
        tolerated(request, error)
    return _job(request, job)


@router.post("/{job_id}/pause")
def pause(request: Request, job_id: str) -> Response:
    """Ask a running job to keep its state and stop."""
    job = job_or_placeholder(request, job_id)
    try:
        job = request_pause(context(request).store, job.project_id, job.id)
    except InvalidInput as error:
        tolerated(request, error)
    return _job(request, job)


@router.post("/{job_id}/resume")
def resume(request: Request, job_id: str) -> Response:
    """Put a paused job back into the queue."""
    job = job_or_placeholder(request, job_id)
    try:
        job = resume_job(context(request).store, job.project_id, job.id)
    except InvalidInput as error:
        tolerated(request, error)
    return _job(request, job)


@router.get("/{job_id}/events")
def events(request: Request, job_id: str) -> Response:
    """Return a page of a job's log."""
    store, job = context(request).store, job_or_placeholder(request, job_id)
    page = list_events(
        store, job.id, after=after_of(request), limit=limit_of(request, 20, _MOST_LISTED)
    )
    data = [event_json(event) for event in page.data]
    return answer({"object": "list", "data": data, "has_more": page.has_more})


@router.get("/{job_id}/checkpoints")
def checkpoints(request: Request, job_id: str) -> Response:
    """Return a page of a job's checkpoints, once it is over or paused."""
    store, job = context(request).store, job_or_placeholder(request, job_id)
    limit = limit_of(request, 10, _MOST_LISTED)
    return answer(
        checkpoints_json(list_checkpoints(store, job.id, after=after_of(request), limit=limit))
    )


def _create(request: Request, wanted: CreateJob) -> Response:
    refuse_archived_base(request, wanted.model)
    bring_file(request, wanted.training_file, "training_file")
    bring_file(request, wanted.validation_file, "validation_file")
    files_or_placeholders(request, wanted.training_file, wanted.validation_file)
    creation = creation_of(request, wanted.model_dump(mode="json"))
    store, caller = context(request).store, identity(request)
    job = create_finetuning_job(
        store, caller, without_services(request, wanted.request()), creation
    )
    return answer(job_json(job, caller))


def _job(request: Request, job: Job) -> Response:
    return answer(job_json(job, identity(request)))


def _query(request: Request) -> JobQuery:
    return JobQuery(
        after=after_of(request),
        limit=limit_of(request, 20, _MOST_LISTED),
        metadata=wanted_metadata(request),
        without_metadata=request.query_params.get("metadata") in ("", "null"),
    )
