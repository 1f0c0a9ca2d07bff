"""`selftune jobs … --profile NAME`."""

from typing import TYPE_CHECKING, Any, Literal

from selftune.cli.console import out, show_json, show_table
from selftune.cli.elsewhere.asking import PAGE, as_written, ask, first, when
from selftune.core.errors import Unavailable
from selftune.core.settings import load_settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from selftune.train.create import FinetuneRequest

Verb = Literal["cancel", "pause", "resume"]


def create(name: str, request: "FinetuneRequest") -> None:
    """Create a job; print its id."""
    from selftune.models.profiles import find_profile
    from selftune.train.remote.body import job_body

    body = job_body(find_profile(load_settings().root, name), request)

    async def question(client: "AsyncOpenAI") -> str:
        # A blind retry could create a second job.
        once = client.with_options(max_retries=0)
        return (await once.fine_tuning.jobs.create(**body)).id

    try:
        out.print(ask(name, question), markup=False)
    except Unavailable as error:
        raise Unavailable(
            f"{error.message} The job may be there all the same: look at `selftune jobs list "
            f"--profile {name}` before you create it again."
        ) from None


def listing(name: str, limit: int, *, json: bool) -> None:
    """List jobs, newest first."""

    async def question(client: "AsyncOpenAI") -> list[Any]:
        return await first(client.fine_tuning.jobs.list(limit=min(limit, PAGE)), limit)

    found = ask(name, question)
    if json:
        return show_json(found)
    return show_table(
        ("id", "status", "base", "model", "created"),
        [
            (
                job["id"],
                job.get("status"),
                job.get("model"),
                job.get("fine_tuned_model") or "",
                when(job.get("created_at")),
            )
            for job in found
        ],
    )


def show(name: str, job_id: str) -> None:
    """Show one job, whole."""

    async def question(client: "AsyncOpenAI") -> Any:
        return as_written(await client.fine_tuning.jobs.retrieve(job_id))

    show_json(ask(name, question))


def events(name: str, job_id: str, *, json: bool) -> None:
    """Show a job's log, oldest first."""

    async def question(client: "AsyncOpenAI") -> list[Any]:
        return await first(client.fine_tuning.jobs.list_events(job_id, limit=PAGE))

    found = ask(name, question)[::-1]
    if json:
        return show_json(found)
    return show_table(
        ("when", "event"),
        [(when(event.get("created_at")), event.get("message")) for event in found],
    )


def steer(name: str, job_id: str, verb: Verb) -> None:
    """Cancel, pause or resume a job; print its status."""

    async def question(client: "AsyncOpenAI") -> str:
        return str((await getattr(client.fine_tuning.jobs, verb)(job_id)).status)

    out.print(ask(name, question), markup=False)
