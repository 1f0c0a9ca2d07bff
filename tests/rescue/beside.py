"""Servers with an archive, in a test's own loop, and archives that are written by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from tests.serve.running import running

from selftune.api.app import create_app
from selftune.core.settings import Settings
from selftune.rescue.archive.format import Entry, Kind, Source
from selftune.rescue.archive.opening import writing
from selftune.rescue.archive.reader import Archive
from selftune.store.accounts import DEFAULT_PROJECT, create_key
from selftune.store.completions import StoredChoice, StoredCompletion
from selftune.store.store import Store, open_store

START = 1_780_000_000
ROW = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'


class Served(NamedTuple):
    """A server with an archive, in the test's own loop."""

    client: AsyncOpenAI
    store: Store
    connect: Callable[[str], AsyncOpenAI]
    """Returns a client with another key."""


Scene = Callable[[Served], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def served(store: Store, archive: Archive | None) -> AsyncIterator[Served]:
    async with running(store.settings) as serving, contextlib.AsyncExitStack() as clients:
        transport = httpx2.ASGITransport(create_app(store, serving, archive=archive))
        opened = []

        def connect(key: str) -> AsyncOpenAI:
            http = httpx2.AsyncClient(transport=transport, base_url="http://test")
            client = AsyncOpenAI(
                base_url="http://test/v1", api_key=key, http_client=http, max_retries=0
            )
            opened.append(client)
            clients.push_async_callback(client.close)
            return client

        yield Served(connect(create_key(store, "mine", is_admin=True)[1]), store, connect)


def play(
    scene: Scene,
    archive: Archive | None,
    home: Path,
    clock: Callable[[], float] | None = None,
    upstream: str = "",
) -> None:
    """Play a scene against a server of its own; `upstream` is the profile of its account."""
    settings = Settings(home=home, upstream=upstream)
    store = open_store(settings) if clock is None else open_store(settings, clock=clock)

    async def main() -> None:
        async with served(store, archive) as parts:
            await scene(parts)

    try:
        asyncio.run(main())
    finally:
        store.close()


def made_archive(folder: Path, *entries: Entry, unread: Sequence[str] = ()) -> Archive:
    """Write an archive by hand; lists are noted as read, except those that are named."""
    source = Source(profile="openai", kind="openai", base_url="https://api.example")
    with writing(folder, source, START) as writer:
        for entry in entries:
            writer.put(entry)
        for name in dict.fromkeys(f"{each.kind} {each.parent}" for each in entries if each.parent):
            if name not in unread:
                told = {"kind": name.split()[0], "count": 0, "is_final": True}
                writer.put(Entry(kind="list", id=name, fetched_at=START, object=told))
        writer.seal(START, is_complete=True)
    return Archive.open(folder)


def entry(kind: Kind, name: str, parent: str | None = None, **told: Any) -> Entry:
    found = {"id": name, **told}
    return Entry(kind=kind, id=name, parent=parent, fetched_at=START, object=found)


def stored_chat(store: Store, **told: Any) -> StoredCompletion:
    """Return a chat as this server keeps one."""
    message = {"role": "assistant", "content": "b"}
    return StoredCompletion(
        id=store.ids.new("chatcmpl-"),
        project_id=DEFAULT_PROJECT,
        kind="chat.completion",
        created_at=store.now(),
        messages=({"role": "user", "content": "a"},),
        choices=(StoredChoice(message=message, finish_reason="stop"),),
        **told,
    )


async def all_of(listing: Any) -> list[dict[str, Any]]:
    return [each.to_dict() async for each in listing]


async def error_of(asked: Awaitable[Any]) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as refused:
        await asked
    return refused.value
