"""Create a job at a provider once: the intent is noted, and a job that may be there is looked for."""

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from selftune.core.canonical import fingerprint
from selftune.models.listed import is_tuned
from selftune.train.remote.body import asked_of
from selftune.train.remote.kept import Book
from selftune.train.remote.once import may_be_made, once

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.fine_tuning import FineTuningJob

_CLOCK_SECONDS = 600
"""So much may the provider's clock be behind ours."""
_SETTLING_SECONDS = 6
_PAGE = 100


async def created(client: "AsyncOpenAI", book: Book, body: dict[str, Any]) -> str:
    """Return the id of the job for this body, created unless it was.

    Raises:
        openai.APIError: the provider does not take it, or cannot be reached.

    """
    from openai import APIError

    if book.kept.job is not None:
        return book.kept.job
    if book.kept.creating_since is None:
        book.note(creating_since=int(time.time()))
    elif (found := await _found(client, book, body)) is not None:
        return _noted(book, found)
    key = fingerprint([book.folder.name, len(book.kept.ended)])
    unrepeated = client.with_options(max_retries=0)

    async def make() -> str:
        jobs = unrepeated.fine_tuning.jobs
        return (await jobs.create(**body, extra_headers={"Idempotency-Key": key})).id

    try:
        return _noted(book, await once(make, lambda: _find(client, book, body)))
    except APIError as error:
        if not may_be_made(error):
            book.note(creating_since=None)
        raise


def _noted(book: Book, job_id: str) -> str:
    book.note(job=job_id, creating_since=None)
    return job_id


async def _found(client: "AsyncOpenAI", book: Book, body: dict[str, Any]) -> str | None:
    """Return the job that an earlier process asked for; of just now, it may still be on its way."""
    settled = (book.kept.creating_since or 0) + _SETTLING_SECONDS
    while (found := await _find(client, book, body)) is None and time.time() < settled:
        await asyncio.sleep(1)
    return found


async def _find(client: "AsyncOpenAI", book: Book, body: dict[str, Any]) -> str | None:
    """Return the job that was made of a body since it was asked for."""
    since = (book.kept.creating_since or 0) - _CLOCK_SECONDS
    async for job in client.fine_tuning.jobs.list(limit=_PAGE):
        if job.created_at < since:
            return None
        if job.id not in book.kept.ended and _is_of(job, body):
            return job.id
    return None


def _is_of(job: "FineTuningJob", body: dict[str, Any]) -> bool:
    """Return whether a job is of this body: same model, files, seed, suffix and hyperparameters."""
    said = job.to_dict(mode="json")
    if not _is_named(str(said.get("model")), str(body["model"])):
        return False
    for name in ("training_file", "validation_file"):
        if said.get(name) != body.get(name):
            return False
    if "seed" in body and said.get("seed") != body["seed"]:  # else the provider drew one
        return False
    if _letters(said.get("user_provided_suffix", body.get("suffix"))) != _letters(
        body.get("suffix")
    ):
        return False
    method = said.get("method")
    if not isinstance(method, dict):  # some do not echo it
        return True
    kind, wanted = asked_of(body)
    own = method.get(kind)
    numbers = own.get("hyperparameters") if isinstance(own, dict) else None
    return method.get("type") == kind and all(
        (numbers or {}).get(name, value) in (value, "auto") for name, value in wanted.items()
    )


def _is_named(model: str, asked: str) -> bool:
    """Return whether a model is the one that was asked for.

    Providers put the date behind a name, and another selftune trains the replacement of a tuned one.
    """
    return is_tuned(asked) or re.fullmatch(re.escape(asked) + r"(-\d{4}.*)?", model) is not None


def _letters(suffix: object) -> str:
    """Return what every provider leaves of a suffix."""
    return re.sub(r"[^a-z0-9]", "", str(suffix or "").lower())
