"""A selftune server that passes on to an account upstream, in a thread of the test."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from openai import OpenAI
from tests.models.sockets import answer
from tests.rescue.stand_in import StandIn

from selftune.api.archive.archive import Archive
from selftune.api.upstream.account import Upstream
from selftune.asgi import application
from selftune.core.settings import Settings
from selftune.models.noted import SOCKET
from selftune.models.profiles import Profile
from selftune.rescue import recorder
from selftune.rescue.cutover import switch
from selftune.serve.address import socket_path
from selftune.serve.process import serve
from selftune.store.accounts import create_key, default_identity
from selftune.store.completions import CompletionQuery, StoredCompletion, list_completions
from selftune.store.store import Store, open_store

MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support:AbC"
FAKE = "selftune/fake"
"""A base of this server that answers at once."""
KEY = "sk-upstream"
BODY = json.dumps(
    {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "from upstream"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
).encode()
OK = answer(BODY, "200 OK", "Content-Type: application/json", "X-Request-Id: req_up")
"""What a scripted upstream answers."""


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


def said(proxy: Proxied, text: str = "hello", **more: object) -> str:
    """Ask the model; return who answered."""
    found = chat(proxy, text, **more)
    assert found.status_code == 200, found.text
    return found.headers["x-selftune-answered-by"]


def chat(proxy: Proxied, text: str = "hello", **more: object) -> httpx.Response:
    """Ask the model."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}
    return proxy.http.post("/chat/completions", json=body)


def tuned(account: StandIn) -> str:
    """Return a model of an account."""
    with account.client() as client:
        return next(each.id for each in client.models.list() if each.id.startswith("ft:"))


def stored(store: Store) -> list[StoredCompletion]:
    """Return what was recorded."""
    project = default_identity(store).project_id
    return list(list_completions(store, project, CompletionQuery(limit=100)).data)


@contextlib.contextmanager
def proxied(
    home: Path,
    upstream_url: str,
    *,
    records: bool = False,
    upstream_key: str = KEY,
    archive: Archive | None = None,
) -> Iterator[Proxied]:
    """Serve a home folder in front of an upstream, and beside an archive."""
    store = open_store(Settings(home=home, requests_per_minute=10_000_000))
    key = create_key(store, "caller")[1]
    profile = Profile(name="up", base_url=upstream_url, api_key_variable="UPSTREAM_KEY")
    upstream = Upstream(profile, socket_path(store.folder("run"), SOCKET), records)
    app = application(store, archive=archive, upstream=upstream)
    with (
        pytest.MonkeyPatch.context() as patched,
        socket.create_server(("127.0.0.1", 0), backlog=512) as listening,
        _recording(store),
    ):
        patched.setenv("UPSTREAM_KEY", upstream_key)
        # asyncio leaves this out where a socket was made elsewhere: answers would wait 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)

        async def main() -> None:
            there = socket_path(store.folder("run"))
            answering = asyncio.create_task(serve(store.settings, there))
            await server.serve(sockets=[listening])
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
    path = socket_path(store.folder("run"), SOCKET)
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
