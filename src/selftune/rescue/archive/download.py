"""Bring an account into an archive: what dies first comes first, and what is here is not asked again.

Lists are kept oldest first. Those that the source can only give newest first are read until what is
known, and kept from their end; so a list that was interrupted goes on where it was.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from selftune.core.errors import AuthenticationFailed
from selftune.core.records import Record
from selftune.rescue.archive.contents import Contents
from selftune.rescue.archive.format import Entry, Kind, Manifest, Source, State
from selftune.rescue.archive.lists import Lists, each_of
from selftune.rescue.archive.opening import writing
from selftune.rescue.archive.source import Asking, Refused, no_lists, path_of
from selftune.rescue.archive.writer import Writer

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RETRIES = 8
"""How often the client asks again: about a minute of trouble is waited out."""
_FILES_AT_ONCE = 1000
_TOP: tuple[Kind, ...] = ("eval", "model", "job", "file", "batch", "completion")
_OF_JOBS: tuple[tuple[Kind, str], ...] = (("job_event", "events"), ("checkpoint", "checkpoints"))


class Progress(Record):
    """How far a run is."""

    stage: str
    counts: dict[str, dict[str, int]]
    bytes: int
    """Of contents, kept by this run."""


Tell = Callable[[Progress], None]


def archive_account(
    client: "AsyncOpenAI", folder: Path, source: Source, tell: Tell = lambda _: None
) -> Manifest:
    """Bring everything that an account has into a folder, or go on with it.

    Raises:
        AuthenticationFailed: the key is not accepted.
        Conflict, InvalidInput: the folder cannot be used; says why.
        NotFound: the account has none of the lists: the address is another one.
        Unavailable: the disk is full, or nothing answers.

    """
    with writing(folder, source, int(time.time())) as writer:
        return asyncio.run(_bring(client, writer, tell))


async def _bring(client: "AsyncOpenAI", writer: Writer, tell: Tell) -> Manifest:
    async with client:
        download = Download(Asking(client), writer, tell)
        await download.run()
        if download.found_none:
            raise no_lists(str(client.base_url))
    return writer.seal(int(time.time()), is_complete=download.is_complete)


class Download:
    """One run over all that an account has."""

    def __init__(self, asking: Asking, writer: Writer, tell: Tell) -> None:
        self._lists = Lists(asking, writer, self._say)
        self._contents = Contents(self._lists)
        self._writer, self._tell, self._stage = writer, tell, ""

    @property
    def is_complete(self) -> bool:
        """True when nothing failed, and the account has no list that the key may not see."""
        if any("failed" in states for states in self._writer.counts().values()):
            return False
        return all(state not in (None, "forbidden") for state in self._tops())

    @property
    def found_none(self) -> bool:
        """True when the source has no list of any kind, and never had one."""
        return all(state == "deleted" for state in self._tops()) and not any(
            "kept" in states for states in self._writer.counts().values()
        )

    def _tops(self) -> list[State | None]:
        """Return how the lists of the account were read."""
        return [self._lists.state_of(kind, None) for kind in _TOP]

    async def run(self) -> None:
        """Ask for everything."""
        for stage, work in (
            ("evals", self._evals),
            ("models", self._models),
            ("jobs", self._jobs),
            ("files", self._files),
            ("batches", self._batches),
            ("stored completions", self._completions),
        ):
            self._stage = stage
            self._say()
            await work()

    async def _evals(self) -> None:
        await self._lists.upwards("eval", "/evals")
        running = self._lists.unsettled("eval_run")
        await each_of(
            self._lists.known.ids("eval"),
            lambda name: self._lists.upwards("eval_run", path_of("evals", name, "runs"), name),
        )
        await each_of(running, self._refresh_run)
        # A run may hold all its rows: only what is needed of it stays in memory.
        runs = (
            (str(run.parent), run.id, run.is_settled) for run in self._lists.known.list("eval_run")
        )
        await each_of(runs, self._items)

    async def _refresh_run(self, run: Entry) -> None:
        await self._lists.refresh(run, path_of("evals", str(run.parent), "runs", run.id))

    async def _items(self, run: tuple[str, str, bool]) -> None:
        eval_id, run_id, is_settled = run
        path = path_of("evals", eval_id, "runs", run_id, "output_items")
        await self._lists.upwards("output_item", path, run_id, is_final=is_settled)

    async def _models(self) -> None:
        """Keep the models, all on one page; those that were there before are noted as deleted."""
        try:
            found = await self._lists.asking.one("/models")
        except Refused as refused:
            await self._lists.note("model", None, refused)
            return
        listed = [each for each in found.get("data", []) if isinstance(each, dict)]
        for each in listed:
            self._lists.keep("model", each)
        names = {str(each.get("id")) for each in listed}
        for entry in self._lists.known.list("model"):
            if entry.id not in names and entry.state == "kept":
                gone = {"state": "deleted", "reason": "the source lists it no more"}
                self._lists.put(entry, **gone)
        await self._lists.note("model", None, count=len(names))

    async def _jobs(self) -> None:
        running = self._lists.unsettled("job")
        await self._lists.downwards("job", "/fine_tuning/jobs")
        await each_of(
            running, lambda job: self._lists.refresh(job, path_of("fine_tuning", "jobs", job.id))
        )
        await each_of(self._lists.known.list("job"), self._of_job)
        await self._permissions()

    async def _of_job(self, job: Entry) -> None:
        for kind, word in _OF_JOBS:
            path = path_of("fine_tuning", "jobs", job.id, word)
            await self._lists.downwards(kind, path, job.id, is_final=job.is_settled)
        model = job.object.get("fine_tuned_model") if isinstance(job.object, dict) else None
        known = self._writer.known("model", str(model))
        if model and (known is None or known.state in ("failed", "forbidden")):
            await self._lists.retrieve("model", str(model), path_of("models", str(model)))

    async def _permissions(self) -> None:
        """Keep who may use a checkpoint. An ordinary key may not know: then nobody else is asked."""
        for entry in self._lists.known.list("checkpoint"):
            name = (entry.object or {}).get("fine_tuned_model_checkpoint")
            if not name:
                continue
            path = path_of("fine_tuning", "checkpoints", str(name), "permissions")
            try:
                await self._lists.downwards("permission", path, str(name), is_final=True)
            except AuthenticationFailed as error:
                await self._lists.note("permission", None, Refused("forbidden", error.message))
                return
            if self._lists.state_of("permission", str(name)) == "forbidden":
                return

    async def _files(self) -> None:
        await self._lists.upwards("file", "/files", limit=_FILES_AT_ONCE)
        await self._contents.fetch()

    async def _batches(self) -> None:
        running = self._lists.unsettled("batch")
        await self._lists.downwards("batch", "/batches")
        await each_of(
            running, lambda batch: self._lists.refresh(batch, path_of("batches", batch.id))
        )
        await self._files()  # those that it made meanwhile, and those that only it names

    async def _completions(self) -> None:
        await self._lists.upwards("completion", "/chat/completions")
        await each_of(self._lists.known.ids("completion"), self._messages)

    async def _messages(self, name: str) -> None:
        path = path_of("chat", "completions", name, "messages")
        await self._lists.upwards("completion_message", path, name, is_final=True)

    def _say(self) -> None:
        counts = self._writer.counts()
        self._tell(Progress(stage=self._stage, counts=counts, bytes=self._contents.bytes))
