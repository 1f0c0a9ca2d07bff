"""A selftune server that passes on to an account upstream, in a thread of the test."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from openai import OpenAI

from selftune.api.upstream.cutover import Upstream
from selftune.asgi import application
from selftune.core.settings import Settings
from selftune.models.profiles import Profile
from selftune.rescue import recorder
from selftune.rescue.cutover import switch
from selftune.serve.address import socket_path
from selftune.serve.process import serve
from selftune.store.accounts import create_key
from selftune.store.store import Store, open_store

MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support:AbC"
FAKE = "selftune/fake"
"""A base of this server that answers at once."""


@dataclass
class Proxied:
    """Where it listens, its key, and its home."""

    port: int
    key: str
    store: Store
    http: httpx.Client
    """Knows the key."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def client(self) -> OpenAI:
        """Return the official client; close it after use."""
        return OpenAI(base_url=self.url, api_key=self.key, max_retries=0)

    def switch(self, to: str, **options: object) -> None:
        """Switch the model, as the command does."""
        switch(self.store, MODEL, to, **{"replacement": FAKE, **options})


@contextlib.contextmanager
def proxied(
    home: Path, upstream_url: str, *, records: bool = False, models: bool = True
) -> Iterator[Proxied]:
    """Serve a home folder in front of an upstream whose key is in `UPSTREAM_KEY`."""
    store = open_store(Settings(home=home, requests_per_minute=10_000_000))
    key = create_key(store, "caller")[1]
    profile = Profile(name="up", base_url=upstream_url, api_key_variable="UPSTREAM_KEY")
    upstream = Upstream(profile, socket_path(store.folder("run"), recorder.SOCKET), records)
    app = application(store, upstream=upstream)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening, _recording(store):
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)

        async def main() -> None:
            there = socket_path(store.folder("run"))
            answering = asyncio.create_task(serve(store.settings, there)) if models else None
            await server.serve(sockets=[listening])
            if answering is not None:
                answering.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await answering

        thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        headers = {"authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{port}/v1"
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=20, verify=False) as client:
                yield Proxied(port, key, store, client)
        finally:
            server.should_exit = True
            thread.join(20)
    store.close()


@contextlib.contextmanager
def _recording(store: Store) -> Iterator[None]:
    over = threading.Event()
    path = socket_path(store.folder("run"), recorder.SOCKET)
    thread = threading.Thread(target=recorder.serve, args=(store, path, over.is_set), daemon=True)
    thread.start()
    eventually(path.exists)
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def eventually(happens: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something happens in another thread."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
