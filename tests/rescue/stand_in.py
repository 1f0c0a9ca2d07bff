"""A second selftune that plays OpenAI: a filled account behind the quirks of the real service.

    with stand_in(tmp_path / "openai", size=SMALL) as openai:
        openai.quirks.fault_share = 0.05
        subprocess.run([...], env=openai.environment)

It runs in a thread of the test, and chats with its `ft:` models are answered: they know their
training rows by heart. With `trains=True` a worker trains its jobs.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from openai import AsyncOpenAI, OpenAI
from tests.rescue.filling import BIG, SMALL, TINY, Account, Size, fill
from tests.rescue.quirks import Quirks, Quirky

from selftune.asgi import application
from selftune.core.settings import Settings, child_environment, load_settings
from selftune.jobs.processes import KeptAlive
from selftune.serve.address import socket_path
from selftune.serve.process import serve
from selftune.store.accounts import create_key
from selftune.store.store import Store, open_store

__all__ = ["BIG", "SMALL", "TINY", "Account", "Quirks", "Size", "StandIn", "stand_in"]


@dataclass(frozen=True)
class StandIn:
    """Where it listens, its key, and what is in it."""

    base_url: str
    key: str
    account: Account
    store: Store
    """What it answers from: a test may add to it or take away."""
    quirks: Quirks
    app: Quirky
    """`app.asked` counts requests, `app.faults` what went wrong."""

    @property
    def environment(self) -> dict[str, str]:
        """What a user would export; the home folder is the test's own to set."""
        return child_environment(load_settings()) | {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_API_KEY": self.key,
        }

    def client(self, *, max_retries: int = 2) -> OpenAI:
        """Return the official client."""
        return OpenAI(base_url=self.base_url, api_key=self.key, max_retries=max_retries)

    def async_client(self, *, max_retries: int = 2) -> AsyncOpenAI:
        """Return the official client for a loop."""
        return AsyncOpenAI(base_url=self.base_url, api_key=self.key, max_retries=max_retries)


@contextlib.contextmanager
def stand_in(
    home: Path, *, size: Size = SMALL, quirks: Quirks | None = None, trains: bool = False
) -> Iterator[StandIn]:
    """Fill a home folder and serve it while the block runs."""
    settings = Settings(home=home, organization="acme", keep_completions_days=36_500)
    store = open_store(settings)
    account = fill(store, size)
    key = create_key(store, "stand-in", is_admin=True)[1]
    chosen = quirks or Quirks()
    app = Quirky(application(store), chosen)
    worker = KeptAlive("selftune.worker", (), child_environment(settings), home / "worker.log")
    with socket.create_server(("127.0.0.1", 0)) as listening, _served(app, store, listening):
        # asyncio leaves this out where a socket was made elsewhere: answers would wait 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        if trains:
            worker.start()
        try:
            yield StandIn(url, key, account, store, chosen, app)
        finally:
            if trains:
                worker.stop()
    store.close()


@contextlib.contextmanager
def _served(app: Quirky, store: Store, listening: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    address = socket_path(store.folder("run"))

    async def main() -> None:
        models = asyncio.create_task(serve(store.settings, address))
        await server.serve(sockets=[listening])
        models.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await models

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)
