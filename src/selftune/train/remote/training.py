"""Train at a provider: each step once, so that the same call goes on where a killed one was."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput, JobFailed
from selftune.core.records import Event, Record
from selftune.models.profiles import Profile, open_client
from selftune.models.refusals import place_of, told
from selftune.train.create import FinetuneRequest
from selftune.train.remote.body import job_body
from selftune.train.remote.creating import created
from selftune.train.remote.files import content_of, is_there, ready, uploaded
from selftune.train.remote.kept import Book, Kept, open_book
from selftune.train.remote.watching import followed

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_USABLE_ATTEMPTS = 12
_LONGEST_WAIT_SECONDS = 10.0


class Order(Record):
    """What to train at a provider."""

    profile: Profile
    request: FinetuneRequest
    """The ids of its files are filled in."""
    training: bytes
    validation: bytes | None = None

    @property
    def digest(self) -> str:
        """Of all that decides the job: the same order is the same job."""
        asked = self.request.model_dump(mode="json", exclude={"training_file", "validation_file"})
        where = {"address": self.profile.address, "profile": self.profile.name}
        return fingerprint(
            asked
            | where
            | {"training": _digest(self.training), "validation": _digest(self.validation)}
        )


class Made(Record):
    """What a training at a provider came to."""

    job: dict[str, Any]
    """As the provider answered."""
    events: tuple[Event, ...]
    results: Path | None
    """Its result file, as text; None where the provider keeps none."""


class Hearing(Record):
    """Who hears how it goes."""

    stage: Callable[[str], None] = lambda text: None
    events: Callable[[tuple[Event, ...]], None] = lambda new: None


def train_there(home: Path, order: Order, hearing: Hearing, *, again: bool = False) -> Made:
    """Return a job at a provider when it has succeeded, begun unless it was.

    Raises:
        JobFailed: it failed or was cancelled; the same call would begin another.
        Conflict: another process does the same.
        SelftuneError: what the provider refuses, in words; the same call goes on.

    """
    from selftune.models.asking import run_loop

    job_body(order.profile, order.request)  # a wrong setting is told before anything is sent
    first = Kept(profile=order.profile.name, address=order.profile.address)
    with open_book(home, order.digest, first) as book:
        if again and book.kept.job is not None:
            book.note(job=None, ended=(*book.kept.ended, book.kept.job))
        return run_loop(_train(order, book, hearing))


async def _train(order: Order, book: Book, hearing: Hearing) -> Made:
    async with open_client(order.profile) as client:
        with told(order.profile):
            name, earlier = order.profile.name, book.kept.job
            if earlier is None:
                hearing.stage(f"Uploading to {name}")
                await _upload(client, order, book)
            body = job_body(order.profile, _with_files(order, book.kept))
            job_id = await created(client, book, body)
            hearing.stage(
                f"Tuning at {name}: {job_id} goes on there if this ends"
                if earlier is None
                else f"Going on at {name} with {job_id} of an earlier run"
            )
            ended = await followed(client, job_id, hearing.events)
            _raise_if_not_succeeded(order, book, ended.job)
            results = await _results(client, book, ended.job)
            await _usable(client, order.profile, str(ended.job["fine_tuned_model"]))
            return Made(job=ended.job, events=ended.events, results=results)


async def _upload(client: "AsyncOpenAI", order: Order, book: Book) -> None:
    from openai import NotFoundError

    parts = {"training": order.training, "validation": order.validation}
    for part, content in parts.items():
        known = getattr(book.kept, f"{part}_file")
        if content is None or (known is not None and await is_there(client, known)):
            continue
        try:
            file_id = await uploaded(client, part, content)
        except NotFoundError:
            raise InvalidInput(
                f"{place_of(order.profile)} keeps no files: an endpoint that only answers chats, "
                "such as vLLM's, trains nothing. Check base_url, or take [model] profile out of "
                "the run file to train on this machine."
            ) from None
        book.note(**{f"{part}_file": file_id})
    for kept in (book.kept.training_file, book.kept.validation_file):
        if kept is not None:
            await ready(client, kept)


def _with_files(order: Order, kept: Kept) -> FinetuneRequest:
    files = {"training_file": kept.training_file, "validation_file": kept.validation_file}
    return order.request.model_copy(update=files)


def _raise_if_not_succeeded(order: Order, book: Book, job: dict[str, Any]) -> None:
    status, job_id = str(job["status"]), str(job["id"])
    if status == "succeeded":
        return
    book.note(job=None, ended=(*book.kept.ended, job_id))
    error = job.get("error") or {}
    said = error.get("message") or f"The job was {status}"
    raise JobFailed(
        f"{said} See `selftune jobs events {job_id} --profile {order.profile.name}`. The same "
        "command creates another job.",
        code=error.get("code") or status,
    )


async def _results(client: "AsyncOpenAI", book: Book, job: dict[str, Any]) -> Path | None:
    """Return where the result file was put; one that the provider does not give is no failure."""
    from openai import APIStatusError

    for file_id in job.get("result_files") or ():
        try:
            return book.keep_result(await content_of(client, str(file_id)))
        except APIStatusError:
            continue
    return None


async def _usable(client: "AsyncOpenAI", profile: Profile, model: str) -> None:
    """Wait a minute or two until a new model is listed; who lists none is asked for answers."""
    from openai import NotFoundError

    if profile.kind == "azure":  # lists what can be deployed
        return
    for attempt in range(_USABLE_ATTEMPTS):
        try:
            await client.models.retrieve(model)
        except NotFoundError:
            await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, 0.5 * 2.0**attempt))
        else:
            return


def _digest(content: bytes | None) -> str | None:
    from hashlib import sha256

    return None if content is None else sha256(content).hexdigest()
