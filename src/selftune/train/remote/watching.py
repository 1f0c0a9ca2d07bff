"""Follow a job at a provider to its end: each event once, oldest first, through bad connections."""

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from selftune.core.records import Event, Record

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

ENDED = ("succeeded", "failed", "cancelled")
_PAGE = 100
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 10.0
_LOST = 60
"""So many looks in a row without an answer, ten minutes of them and more: the provider is gone."""
_STEP = re.compile(r"^Step (\d+)/(\d+) ?[:,].*?loss=(\d+(?:\.\d+)?)")
_NUMBERS = ("step", "total_steps", "train_loss")
_LEVELS = {"warn": "warn", "warning": "warn", "error": "error"}
"""Ours by OpenAI's words and Azure's; other words are `info`."""


class Ended(Record):
    """A job that is over, and what it said."""

    job: dict[str, Any]
    """As the provider answered."""
    events: tuple[Event, ...]


async def followed(
    client: "AsyncOpenAI", job_id: str, hear: Callable[[tuple[Event, ...]], None]
) -> Ended:
    """Return a job when it is over; hand on its new events as they come.

    Raises:
        openai.APIError: the job is not there, or the provider has not answered for long.

    """
    from openai import APIError

    log, wait, lost = _Log(job_id), _FIRST_WAIT_SECONDS, 0
    while True:
        try:
            job = await client.fine_tuning.jobs.retrieve(job_id)
            new = await log.read(client)  # after the job: of one that is over, all
        except APIError as error:
            lost += 1
            if not _is_passing(error) or lost == _LOST:
                raise
        else:
            lost = 0
            if new:
                hear(new)
                wait = _FIRST_WAIT_SECONDS
            new = log.paused(str(job.status))
            if new:
                hear(new)
            if job.status in ENDED:
                return Ended(job=job.to_dict(mode="json"), events=tuple(log.events))
        await asyncio.sleep(wait)
        wait = min(_LONGEST_WAIT_SECONDS, wait * 1.5)


class _Log:
    """The events of a job that were read."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._known: set[str] = set()
        self._is_paused = False
        self.events: list[Event] = []

    async def read(self, client: "AsyncOpenAI") -> tuple[Event, ...]:
        """Return what is new, oldest first; the provider lists the newest first."""
        found: list[dict[str, Any]] = []
        async for event in client.fine_tuning.jobs.list_events(self._job_id, limit=_PAGE):
            if event.id in self._known:
                break
            found.append(event.to_dict(mode="json"))
        new: list[Event] = []
        for said in reversed(found):
            self._known.add(str(said["id"]))
            new.append(event_of(self._job_id, len(self.events) + len(new) + 1, said))
        self.events += new
        return tuple(new)

    def paused(self, status: str) -> tuple[Event, ...]:
        """Return a line of our own when the job has come to stand still: no event says so."""
        was, self._is_paused = self._is_paused, status == "paused"
        if was or not self._is_paused:
            return ()
        words = "The job is paused: it goes on after `selftune jobs resume` with --profile"
        said = {"id": f"{self._job_id}-paused", "message": words, "level": "warn"}
        return (event_of(self._job_id, len(self.events), said),)


def event_of(job_id: str, sequence: int, said: dict[str, Any]) -> Event:
    """Return a provider's event as ours; numbers that only its words have are read from them."""
    message = str(said.get("message") or "")
    numbers = _numbers(said.get("data"), message)
    return Event(
        id=str(said["id"]),
        job_id=job_id,
        sequence=sequence,
        key="said",
        created_at=int(said.get("created_at") or 0),
        level=_LEVELS.get(str(said.get("level")), "info"),
        message=message,
        type="message" if numbers is None else "metrics",
        data=numbers,
    )


def _numbers(data: Any, message: str) -> dict[str, Any] | None:
    if isinstance(data, dict) and all(isinstance(data.get(n), int | float) for n in _NUMBERS):
        return data
    found = _STEP.match(message)
    if found is None:
        return None
    step, total, loss = found.groups()
    return {"step": int(step), "total_steps": int(total), "train_loss": float(loss)}


def _is_passing(error: "APIError") -> bool:
    """Return whether the same look may work later."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, APIConnectionError)
