"""`selftune jobs`: create, list, read and steer fine-tuning jobs."""

import json as json_format
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from selftune.cli.console import open_home, out, show_json, show_table
from selftune.cli.elsewhere.asking import Profile
from selftune.cli.grouping import grouped
from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters, Job, TrainOptions

app = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The job's id, ftjob-…")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=1000)]
_NAMES = (*Hyperparameters.model_fields, *TrainOptions.model_fields)


@dataclass(frozen=True)
class How:
    """How to train."""

    method: Annotated[
        str, typer.Option(help="supervised, dpo or reinforcement.", metavar="METHOD")
    ] = "supervised"
    validation_file: Annotated[
        str | None, typer.Option(help="The validation file's id, file-….")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="NAME=VALUE",
            help="A hyperparameter, such as n_epochs=3, or an option, such as rank=8; repeatable.",
        ),
    ] = None
    grader: Annotated[Path | None, typer.Option(help="JSON file of reinforcement's grader.")] = None
    response_format: Annotated[
        Path | None, typer.Option(help="JSON file of the shape of reinforcement's answers.")
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What to keep with the job; repeatable."),
    ] = None
    priority: Annotated[int, typer.Option(help="Higher is sooner.")] = 0


@app.command("create")
@grouped
def create(
    training_file: Annotated[str, typer.Argument(help="The file's id, file-…")],
    how: How,
    model: Annotated[str, typer.Option(help="What to train.")] = "selftune/minilm",
    suffix: Annotated[str | None, typer.Option(help="Part of the new model's name.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same model.")] = None,
    profile: Profile = None,
) -> None:
    """Save a job; a worker takes it when one runs (`selftune serve` or `selftune worker`)."""
    from selftune.workflow import FinetuneRequest, create_finetuning_job

    numbers, options = _settings(how.settings or [])
    wanted: dict[str, Any] = {
        "model": model,
        "training_file": training_file,
        "validation_file": how.validation_file,
        "suffix": suffix,
        "seed": seed,
        "method": how.method,
        "hyperparameters": numbers,
        "options": options,
        "grader": _json_object(how.grader),
        "response_format": _json_object(how.response_format),
        "metadata": _metadata(how.metadata or []),
        "priority": how.priority,
    }
    try:
        request = FinetuneRequest.model_validate(wanted)
    except ValidationError as problem:
        first = problem.errors()[-1]  # of a union the last says what a number must be
        name = next(part for part in reversed(first["loc"]) if part in _NAMES or part in wanted)
        raise InvalidInput(f"{name}: {first['msg']}.", code="invalid_value") from problem
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.create(profile, request)
    store, identity = open_home()
    return out.print(create_finetuning_job(store, identity, request).id)


@app.command("list")
def listing(limit: Limit = 20, json: Json = False, profile: Profile = None) -> None:
    """List jobs, newest first."""
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.listing(profile, limit, json=json)
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
def show(job_id: Id, profile: Profile = None) -> None:
    """Show one job, whole."""
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.show(profile, job_id)
    from selftune.jobs.queue import get_job

    store, identity = open_home()
    return show_json(get_job(store, identity.project_id, job_id).model_dump(mode="json"))


@app.command("events")
def events(job_id: Id, json: Json = False, profile: Profile = None) -> None:
    """Show a job's log, oldest first."""
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.events(profile, job_id, json=json)
    from selftune.jobs.events import events_since
    from selftune.jobs.queue import get_job

    store, identity = open_home()
    job = get_job(store, identity.project_id, job_id)
    found = events_since(store, job.id, 0)
    if json:
        return show_json([event.model_dump(mode="json") for event in found])
    return show_table(("when", "event"), [(_when(e.created_at), e.message) for e in found])


@app.command("cancel")
def cancel(job_id: Id, profile: Profile = None) -> None:
    """End a job."""
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.steer(profile, job_id, "cancel")
    from selftune.jobs.queue import cancel_job

    store, identity = open_home()
    return out.print(cancel_job(store, identity.project_id, job_id).status)


@app.command("pause")
def pause(job_id: Id, profile: Profile = None) -> None:
    """Stop a running job; it keeps its last checkpoint."""
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.steer(profile, job_id, "pause")
    from selftune.jobs.queue import request_pause

    store, identity = open_home()
    return out.print(request_pause(store, identity.project_id, job_id).status)


@app.command("resume")
def resume(job_id: Id, profile: Profile = None) -> None:
    """Put a paused job back into the queue."""
    if profile is not None:
        from selftune.cli.elsewhere import jobs

        return jobs.steer(profile, job_id, "resume")
    from selftune.jobs.queue import resume_job

    store, identity = open_home()
    return out.print(resume_job(store, identity.project_id, job_id).status)


def _settings(given: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return hyperparameters and options as they were written.

    Raises:
        InvalidInput: one is no `NAME=VALUE`, or nothing has this name.

    """
    numbers, options = dict[str, Any](), dict[str, Any]()
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or name not in _NAMES:
            raise InvalidInput(f"--set {each!r} is no NAME=VALUE of {', '.join(_NAMES)}.")
        try:
            value = json_format.loads(text)
        except ValueError:
            value = text
        (numbers if name in Hyperparameters.model_fields else options)[name] = value
    return numbers, options


def _metadata(given: list[str]) -> dict[str, str] | None:
    pairs = [each.partition("=") for each in given]
    if not all(equals and name for name, equals, _ in pairs):
        raise InvalidInput("--metadata must be NAME=VALUE.")
    return {name: value for name, _, value in pairs} or None


def _json_object(path: Path | None) -> dict[str, Any] | None:
    """Return what a JSON file holds.

    Raises:
        InvalidInput: it cannot be read, or holds no object.

    """
    if path is None:
        return None
    try:
        found = json_format.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} is no JSON object.")
    return found


def _model(job: Job) -> str:
    return str(job.state["fine_tuned_model"]) if job.status == "succeeded" else ""


def _when(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
