"""The API's side of everything that answers: the serving process, and model servers elsewhere.

Which of them answers is in a request's `engine`: a sampler's name, or the address of a server with
the model's name as its fragment (`http://host:8000/v1#ft:…`; without one, the server's own model).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urldefrag

from selftune.core.errors import InvalidInput
from selftune.core.settings import Settings
from selftune.serve.client import ServingClient
from selftune.serve.frames import Embedded, EmbedRequest, Sampled, SampleRequest, WirePiece
from selftune.serve.pieces import gathered
from selftune.serve.remote.server import Limits, ModelServer

_ADAPTER = "adapter_config.json"


def engine_at(server: str, model: str = "") -> str:
    """Return the `engine` of a model that a server answers for."""
    return f"{server}#{model}" if model else server


def is_elsewhere(engine: str) -> bool:
    """Return whether a server answers, and not the serving process."""
    return engine.startswith(("http://", "https://"))


def no_vectors() -> InvalidInput:
    """Return what is said to who wants vectors of a model server."""
    return InvalidInput(
        "This model is answered by a server for chats and makes no vectors: ask for another one.",
        code="unsupported_model",
        param="model",
    )


class Serving(ServingClient):
    """Sends requests to whoever answers for the model."""

    def __init__(self, socket: Path, settings: Settings) -> None:
        super().__init__(
            socket,
            wait_seconds=settings.serving_wait_seconds,
            most_waiting=settings.serving_queue,
        )
        self._root = settings.root
        self._seen_there = Path(settings.model_server_home or settings.root)
        self._limits = Limits(
            wait_seconds=settings.serving_wait_seconds,
            load_seconds=settings.serving_load_seconds,
            most_adapters=settings.serving_models,
        )
        self._servers: dict[str, ModelServer] = {}

    async def sample(self, request: SampleRequest) -> Sampled:
        """Return the answer to a chat, whole."""
        if not is_elsewhere(request.engine):
            return await super().sample(request)
        pieces = [piece async for some in self._elsewhere(request) for piece in some]
        return gathered(request, pieces)

    async def stream(self, request: SampleRequest) -> AsyncGenerator[list[WirePiece], None]:
        """Yield the pieces of the answer to a chat as they come."""
        there = is_elsewhere(request.engine)
        found = self._elsewhere(request) if there else super().stream(request)
        async with aclosing(found) as pieces:
            async for some in pieces:
                yield some

    async def embed(self, request: EmbedRequest) -> Embedded:
        """Return the vectors of texts."""
        if is_elsewhere(request.engine):
            raise no_vectors()
        return await super().embed(request)

    async def close(self) -> None:
        """End all connections."""
        for server in self._servers.values():
            await server.close()
        await super().close()

    async def _elsewhere(self, request: SampleRequest) -> AsyncGenerator[list[WirePiece], None]:
        address, adapter = urldefrag(request.engine)
        if adapter and not (self._root / (request.folder or "") / _ADAPTER).is_file():
            raise InvalidInput(
                f"The model {adapter!r} is no adapter, and the server of its base can load only "
                "those: serve it by a server of its own and name that in endpoints.toml.",
                code="unsupported_model",
                param="model",
            )
        if address not in self._servers:
            self._servers[address] = ModelServer(address, self._limits)
        folder = str(self._seen_there / (request.folder or ""))
        async with aclosing(self._servers[address].stream(request, adapter, folder)) as pieces:
            async for some in pieces:
                yield some
