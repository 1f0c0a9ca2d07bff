"""`selftune jobs`: create, list, read and steer fine-tuning jobs."""

import time
from typing import Annotated

import typer

from selftune.cli.console import open_home, out, show_json, show_table
from selftune.core.records import Job

app = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The job's id, ftjob-…")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=1000)]


@app.command("create")
def create(
    training_file: Annotated[str, typer.Argument(help="The file's id, file-…")],
    model: Annotated[str, typer.Option(help="What to train.")] = "selftune/minilm",
    suffix: Annotated[str | None, typer.Option(help="Part of the new model's name.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same model.")] = None,
    priority: Annotated[int, typer.Option(help="Higher is sooner.")] = 0,
) -> None:
    """Save a job; a worker takes it when one runs (`selftune serve` or `selftune worker`)."""
    from selftune.workflow import FinetuneRequest, create_finetuning_job

    store, identity = open_home()
    request = FinetuneRequest(
        model=model, training_file=training_file, suffix=suffix, seed=seed, priority=priority
    )
    out.print(create_finetuning_job(store, identity, request).id)


@app.command("list")
def listing(limit: Limit = 20, json: Json = False) -> None:
    """List jobs, newest first."""
    from selftune.jobs.queue import JobQuery, list_jobs

    store, identity = open_home()
    page = list_jobs(store, identity.project_id, "fine_tuning", JobQuery(limit=limit))
    if json:
        return show_json([job.model_dump(mode="json") for job in page.data])
    return show_table(
        ("id", "status", "base", "model", "created"),
        [
            (job.id, job.status, job.spec["model"], _model(job), _when(job.created_at))
            for job in page.data
        ],
    )


@app.command("show")
def show(job_id: Id) -> None:
    """Show one job, whole."""
    from selftune.jobs.queue import get_job

    store, identity = open_home()
    show_json(get_job(store, identity.project_id, job_id).model_dump(mode="json"))


@app.command("events")
def events(job_id: Id, json: Json = False) -> None:
    """Show a job's log, oldest first."""
    from selftune.jobs.events import events_since
    from selftune.jobs.queue import get_job

    store, identity = open_home()
    job = get_job(store, identity.project_id, job_id)
    found = events_since(store, job.id, 0)
    if json:
        return show_json([event.model_dump(mode="json") for event in found])
    return show_table(("when", "event"), [(_when(e.created_at), e.message) for e in found])


@app.command("cancel")
def cancel(job_id: Id) -> None:
    """End a job."""
    from selftune.jobs.queue import cancel_job

    store, identity = open_home()
    out.print(cancel_job(store, identity.project_id, job_id).status)


@app.command("pause")
def pause(job_id: Id) -> None:
    """Stop a running job; it keeps its last checkpoint."""
    from selftune.jobs.queue import request_pause

    store, identity = open_home()
    out.print(request_pause(store, identity.project_id, job_id).status)


@app.command("resume")
def resume(job_id: Id) -> None:
    """Put a paused job back into the queue."""
    from selftune.jobs.queue import resume_job

    store, identity = open_home()
    out.print(resume_job(store, identity.project_id, job_id).status)


def _model(job: Job) -> str:
    return str(job.state["fine_tuned_model"]) if job.status == "succeeded" else ""


def _when(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
