"""The official client against the application, with a serving process and no network."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import uvicorn
from openai import AsyncOpenAI
from starlette.applications import Starlette
from tests.conftest import OpenStore
from tests.serve.running import Models, WatchedSampler, running, use

from selftune.api.app import create_app
from selftune.store.store import Store

MODEL = "selftune/fake"
ANSWERS = {"capital?": "It is Paris, naïvely 😀.", "hi": "hello", "": "nothing asked"}
Scene = Callable[["Asked"], Coroutine[Any, Any, None]]
Play = Callable[..., Models]


@dataclass(frozen=True)
class Asked:
    """What a test talks to."""

    client: Any
    """An `AsyncOpenAI`, strict; its overloads do not take options from a dict."""
    app: Starlette
    models: Models

    async def post(self, path: str, body: str | dict[str, Any]) -> httpx2.Response:
        """Send a body as it is."""
        content = {"content": body} if isinstance(body, str) else {"json": body}
        async with _http(self.app) as http:
            return await http.post(f"/v1/{path}", **content)

    async def refused(self, path: str, body: str | dict[str, Any]) -> dict[str, Any]:
        """Send a body that is refused; return the error."""
        reply = await self.post(path, body)
        assert reply.status_code == 400, reply.text
        error: dict[str, Any] = reply.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


@contextlib.asynccontextmanager
async def over_http(app: Starlette) -> AsyncIterator[Any]:
    """Give a client that is connected by a socket: the one in process reads a stream at its end."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        async with AsyncOpenAI(
            base_url=address, api_key="none", max_retries=0, _strict_response_validation=True
        ) as client:
            try:
                yield client
            finally:
                server.should_exit = True
                await serving


def player(open_sqlite: OpenStore, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Return what plays a scene against an application of its own."""
    models = use(monkeypatch)
    models.sampler = WatchedSampler(ANSWERS)

    def play(scene: Scene, **settings: Any) -> Models:
        asyncio.run(_run(scene, open_sqlite(**settings), models))
        return models

    return play


async def _run(scene: Scene, store: Store, models: Models) -> None:
    async with running(store.settings) as serving:
        app = create_app(store, serving, without_keys=True)
        async with app.router.lifespan_context(app), _client(app) as client:
            await scene(Asked(client, app, models))


@contextlib.asynccontextmanager
async def _client(app: Starlette) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url="http://test/v1",
        api_key="none",
        http_client=_http(app),
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def _http(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")
