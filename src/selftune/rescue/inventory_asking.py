"""Ask an account what it has: all lists but those of output items, which runs count themselves."""

import asyncio
from typing import TYPE_CHECKING

from selftune.rescue.archive.lists import each_of
from selftune.rescue.archive.source import Asking, Object, Refused, no_lists, path_of
from selftune.rescue.inventory import Found

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FILES_AT_ONCE = 1000


def look_around(client: "AsyncOpenAI") -> Found:
    """Return what the account has.

    Raises:
        AuthenticationFailed: the key is not accepted.
        NotFound: it has none of the lists: the address is another one.
        Unavailable: nothing answers.

    """
    return asyncio.run(_look(client))


async def _look(client: "AsyncOpenAI") -> Found:
    found = Found()
    async with client:
        asking = Asking(client)
        looking = _Looking(asking, found)
        works = (
            looking.evals,
            looking.models,
            looking.jobs,
            looking.files,
            looking.batches,
            looking.completions,
        )
        await each_of(works, lambda work: work())
    if len(found.lacking) == len(works):
        raise no_lists(str(client.base_url))
    return found


class _Looking:
    """Reads lists to their ends, and notes those that cannot be read."""

    def __init__(self, asking: Asking, found: Found) -> None:
        self._asking, self._found = asking, found

    async def evals(self) -> None:
        """Read the evals and their runs."""
        self._found.evals = await self._top("evals", "/evals")

        async def runs(made: Object) -> None:
            name = str(made.get("id"))
            path = path_of("evals", name, "runs")
            self._found.runs += await self._all(f"the runs of {name}", path)

        await each_of(self._found.evals, runs)

    async def models(self) -> None:
        """Read the models, which are all on one page."""
        self._found.models = await self._top("models", "/models")

    async def jobs(self) -> None:
        """Read the jobs, how long their logs are, and their checkpoints."""
        self._found.jobs = await self._top("jobs", "/fine_tuning/jobs")

        async def of_job(job: Object) -> None:
            name = str(job.get("id"))
            path = path_of("fine_tuning", "jobs", name)
            events = await self._all(f"the events of {name}", f"{path}/events")
            self._found.events[name] = len(events)
            listed = await self._all(f"the checkpoints of {name}", f"{path}/checkpoints")
            self._found.checkpoints[name] = listed

        await each_of(self._found.jobs, of_job)

    async def files(self) -> None:
        """Read the files, not what they hold."""
        self._found.files = await self._top("files", "/files", limit=_FILES_AT_ONCE)

    async def batches(self) -> None:
        """Read the batches."""
        self._found.batches = await self._top("batches", "/batches")

    async def completions(self) -> None:
        """Read the stored completions."""
        self._found.completions = await self._top("stored completions", "/chat/completions")

    async def _top(self, what: str, path: str, *, limit: int = 100) -> list[Object]:
        """Return a list of the account; note where the provider does not have it."""
        return await self._all(what, path, limit=limit, may_lack=True)

    async def _all(
        self, what: str, path: str, *, limit: int = 100, may_lack: bool = False
    ) -> list[Object]:
        found: list[Object] = []
        try:
            async for page in self._asking.pages(path, limit=limit):
                found += page
        except Refused as refused:
            self._found.refused[what] = refused.reason
            self._found.is_whole &= refused.state != "failed"
            if may_lack and refused.state == "deleted":
                self._found.lacking.append(what)
        return found
