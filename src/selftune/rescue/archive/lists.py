"""Lists of the source, into an archive: oldest first, and from where the last run came to."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from selftune.rescue.archive.format import Entry, Kind, State, digest
from selftune.rescue.archive.reader import Archive
from selftune.rescue.archive.source import Asking, Object, Refused
from selftune.rescue.archive.writer import Writer

T = TypeVar("T")
NOT_READ = "its content was not read yet"


class Lists:
    """Reads lists on, and keeps what they have."""

    def __init__(self, asking: Asking, writer: Writer, say: Callable[[], None]) -> None:
        self.asking, self.writer, self.say = asking, writer, say

    @property
    def known(self) -> Archive:
        """What the archive has by now."""
        return Archive(self.writer.folder, self.writer.manifest)

    def unsettled(self, kind: Kind) -> list[Entry]:
        """Return what the source has to be asked for again."""
        return [each for each in self.known.list(kind) if not each.is_settled]

    async def upwards(
        self,
        kind: Kind,
        path: str,
        parent: str | None = None,
        *,
        is_final: bool = False,
        limit: int = 100,
    ) -> None:
        """Read a list on, oldest first, from the newest that is known."""
        if self._is_read(kind, parent):
            return
        after = self.writer.last(kind, parent)
        try:
            try:
                await self._take(kind, path, parent, limit=limit, after=after)
            except Refused as refused:
                if after is None or refused.status not in (400, 404):
                    raise
                await self._take(kind, path, parent, limit=limit)  # what it was after is gone
        except Refused as refused:
            await self.note(kind, parent, refused)
        else:
            await self.note(kind, parent, is_final=is_final)

    async def _take(
        self, kind: Kind, path: str, parent: str | None, *, limit: int, after: str | None = None
    ) -> None:
        pages = self.asking.pages(path, limit=limit, after=after, order="asc")
        async for page in pages:
            for each in page:
                self.keep(kind, each, parent)
            self.say()

    async def downwards(
        self, kind: Kind, path: str, parent: str | None = None, *, is_final: bool = False
    ) -> None:
        """Read a list, newest first, until what is known, and keep it from its end."""
        if self._is_read(kind, parent):
            return
        # Of a list that broke off once, what is known is not all that is older.
        may_stop = self.state_of(kind, parent) == "kept"
        newest_first: list[Object] = []
        problem = None
        try:
            async for page in self.asking.pages(path):
                new = [each for each in page if self.writer.known(kind, _id_of(each)) is None]
                newest_first += new
                if may_stop and len(new) < len(page):
                    break
        except Refused as refused:
            problem = refused
        for each in reversed(newest_first):
            self.keep(kind, each, parent)
        await self.note(kind, parent, problem, is_final=is_final)
        self.say()

    async def refresh(self, entry: Entry, path: str) -> None:
        """Ask again for what was under way."""
        try:
            found = await self.asking.one(path)
        except Refused as refused:
            self.put(entry, state=refused.state, reason=refused.reason)
        else:
            self.put(entry, state="kept", reason=None, object=found)

    async def retrieve(self, kind: Kind, name: str, path: str, **values: Any) -> None:
        """Ask for something that no list has; note what is said."""
        entry = Entry(kind=kind, id=name, fetched_at=_now())
        try:
            self.put(entry, object=await self.asking.one(path), **values)
        except Refused as refused:
            self.put(entry, state=refused.state, reason=refused.reason)

    def keep(self, kind: Kind, found: Object, parent: str | None = None) -> None:
        """Keep an object of a list, unless it is here and cannot have changed."""
        name = _id_of(found)
        known = self.writer.known(kind, name)
        is_here = known is not None and known.is_settled and known.state == "kept"
        if is_here and kind != "model":
            return
        entry = Entry(kind=kind, id=name, parent=parent, fetched_at=_now(), object=found)
        waits = {"state": "failed", "reason": NOT_READ} if kind == "file" else {}
        self.put(entry, **waits)

    def put(self, entry: Entry, **values: Any) -> None:
        """Write down what is known by now."""
        self.writer.put(entry.model_copy(update={"fetched_at": _now()} | values))

    async def note(
        self,
        kind: Kind,
        parent: str | None,
        problem: Refused | None = None,
        *,
        is_final: bool = False,
        count: int | None = None,
    ) -> None:
        """Note that a list was read to its end, or why not; what it had is on the disk by then."""
        await asyncio.to_thread(self.writer.sync, kind)
        if count is None:
            count = self.writer.count(kind, parent)
        entry = Entry(
            kind="list",
            id=_list_id(kind, parent),
            parent=parent,
            state="kept" if problem is None else problem.state,
            reason=None if problem is None else problem.reason,
            fetched_at=_now(),
            object={"kind": kind, "count": count, "is_final": is_final},
        )
        self.writer.put(entry)

    def _is_read(self, kind: Kind, parent: str | None) -> bool:
        known = self.writer.known("list", _list_id(kind, parent))
        return known is not None and known.is_settled

    def is_forbidden(self, kind: Kind, name: str) -> bool:
        """Return whether the source last said of an id that the key may not see it."""
        known = self.writer.known(kind, name)
        return known is not None and known.state == "forbidden"

    def state_of(self, kind: Kind, parent: str | None) -> State | None:
        """Return how the last reading of a list ended."""
        known = self.writer.known("list", _list_id(kind, parent))
        return None if known is None else known.state


async def each_of(things: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the same for all; the first that cannot go on ends the others."""

    async def one(thing: T) -> None:
        await work(thing)

    try:
        async with asyncio.TaskGroup() as group:
            for thing in list(things):
                group.create_task(one(thing))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _list_id(kind: Kind, parent: str | None) -> str:
    return kind if parent is None else f"{kind} {parent}"


def _id_of(found: Object) -> str:
    """Return an object's id; of one without, what cannot change while the object is the same."""
    name = found.get("id")
    return name if isinstance(name, str) and name else f"sha256-{digest(found)}"


def _now() -> int:
    return int(time.time())
