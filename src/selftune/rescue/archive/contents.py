"""Contents of files: those that lists have, and those that only something else names."""

import asyncio
from collections.abc import Callable, Iterator

from selftune.core.errors import Unavailable
from selftune.rescue.archive.format import Entry, Kind, State
from selftune.rescue.archive.lists import NOT_READ, Lists, each_of
from selftune.rescue.archive.naming import files_of_batch, files_of_job, files_of_run
from selftune.rescue.archive.source import Broken, Object, Refused, path_of
from selftune.rescue.archive.writer import cannot_write

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.2
_RESULTS = "fine-tune-results"
_FIRST = (_RESULTS, "fine-tune", "evals", "batch", "batch_output")
"""Purposes of files whose contents come before those of others."""


class Contents:
    """Fetches what files hold."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._forbidden = set[str]()
        """Asked for in this run, and refused."""
        self.bytes = 0
        """That were fetched."""

    async def fetch(self) -> None:
        """Fetch what is not here, of listed files and then of those that are only named."""
        await self._waiting()
        await each_of(self._named_files(), self._named_file)
        await self._waiting()

    def _named_files(self) -> Iterator[str]:
        """Yield the files that something names and no list has, or that could not be asked for."""
        known, seen = self._lists.known, set[str]()
        for kind, names_of in _NAMING:
            for entry in known.list(kind):
                seen.update(names_of(entry.object or {}))
        for name in sorted(seen):
            found = known.get("file", name)
            if found is None or (found.object is None and self._is_open(found)):
                yield name

    def _is_open(self, entry: Entry) -> bool:
        """Return whether to ask for a file again: once in a run, if it was forbidden."""
        return entry.state != "deleted" and entry.id not in self._forbidden

    async def _named_file(self, name: str) -> None:
        await self._lists.retrieve(
            "file", name, path_of("files", name), state="failed", reason=NOT_READ
        )
        if self._lists.is_forbidden("file", name):
            self._forbidden.add(name)

    async def _waiting(self) -> None:
        """Fetch the contents that are not here, those first that cannot be had elsewhere."""
        waiting = [
            each
            for each in self._lists.unsettled("file")
            if each.object is not None and self._is_open(each)
        ]
        waiting.sort(key=lambda each: _rank(each.object))
        await each_of(waiting, self._content)
        await asyncio.to_thread(self._lists.writer.sync, "file")

    async def _content(self, entry: Entry) -> None:
        problem = ""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._fetch(entry)
                return
            except Broken as error:
                problem = f"its content broke off: {error}"
                await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
            except Refused as refused:
                # A purpose whose files nobody may read is refused as a bad request.
                state: State = "forbidden" if refused.status == 400 else refused.state
                self._lists.put(entry, state=state, reason=f"its content: {refused.reason}")
                if state == "forbidden":
                    self._forbidden.add(entry.id)
                return
        self._lists.put(entry, state="failed", reason=problem)

    async def _fetch(self, entry: Entry) -> None:
        try:
            with self._lists.writer.blobs.writer() as writer:
                await self._lists.asking.content(entry.id, writer.write)
                blob = await asyncio.to_thread(writer.commit)
        except Unavailable as error:
            if error.code != "disk_full":
                raise
            raise cannot_write(self._lists.writer.folder, "its disk is full") from error
        except OSError as error:
            raise cannot_write(self._lists.writer.folder, error.strerror) from error
        said = entry.object.get("bytes")
        is_odd = said != blob.bytes and entry.object.get("purpose") != _RESULTS
        reason = f"the source says {said} bytes, and gave {blob.bytes}" if is_odd else None
        self.bytes += blob.bytes
        self._lists.put(entry, state="kept", reason=reason, blob=blob.sha256)
        self._lists.say()


def _rank(file: Object) -> int:
    purpose = file.get("purpose")
    return _FIRST.index(purpose) if purpose in _FIRST else len(_FIRST)


_NAMING: tuple[tuple[Kind, Callable[[Object], list[str]]], ...] = (
    ("job", files_of_job),
    ("eval_run", files_of_run),
    ("batch", files_of_batch),
)
