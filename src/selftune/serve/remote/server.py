"""One model server: what it is asked, and which adapters it has in memory.

It answers for a base under the name that it gives it, and for models that were trained from that
base: their adapters are loaded when they are first asked for, under our names, and the least recently
used one makes room. Several processes may share a server: whatever another one unloaded is loaded
again.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from importlib.metadata import version

import orjson

from selftune.core.errors import (
    InvalidInput,
    LimitExceeded,
    SelftuneError,
    TooLarge,
    Unavailable,
)
from selftune.core.records import Record
from selftune.core.settings import read_variable
from selftune.models.answers import load_json
from selftune.models.connections import Connections
from selftune.models.exchange import NoAnswer, Reply
from selftune.models.requests import refusal_of
from selftune.models.route import route_to
from selftune.serve.frames import EndPiece, SampleRequest, WirePiece
from selftune.serve.remote.wire import Reading, body_of, path_of

KEY_VARIABLE = "VLLM_API_KEY"
"""The variable that vLLM itself reads its key from."""
_LONGEST_SECONDS = 3600.0
"""Of one answer; its pieces have a shorter limit each."""
_ATTEMPTS = 2
_log = logging.getLogger("selftune.model_server")


class Limits(Record):
    """How patient, and how many."""

    wait_seconds: float
    """Between two pieces of an answer."""
    load_seconds: float
    """Until an adapter is loaded."""
    most_adapters: int


class _Gone(Exception):
    """The server does not have a model any more that it had."""


class ModelServer:
    """A server at one address. Used from one event loop."""

    def __init__(self, address: str, limits: Limits) -> None:
        self._address, self._limits = address.rstrip("/"), limits
        self._connections: dict[str, Connections] = {}
        self._own_name: str | None = None
        self._loaded: OrderedDict[str, int] = OrderedDict()
        """Adapters in memory, least recently used first, with how many requests they answer."""
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._looking = asyncio.Lock()

    async def stream(
        self, asked: SampleRequest, adapter: str, folder: str
    ) -> AsyncGenerator[list[WirePiece], None]:
        """Yield the pieces of an answer as they come; without an adapter, the base's own.

        Raises:
            SelftuneError: in the words of who asks; what concerns the server alone is logged.

        """
        for attempt in range(_ATTEMPTS):
            try:
                async with (
                    self._using(adapter, folder) as model,
                    aclosing(self._answer(asked, model)) as pieces,
                ):
                    async for some in pieces:
                        yield some
                return
            except _Gone:
                self._forget()
                if attempt + 1 == _ATTEMPTS:
                    raise self._unavailable("loses the model as soon as it has it") from None

    async def close(self) -> None:
        """Close all connections."""
        loading = tuple(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for connections in self._connections.values():
            await connections.close()

    @asynccontextmanager
    async def _using(self, adapter: str, folder: str) -> AsyncGenerator[str, None]:
        """Yield the name to ask for; an adapter stays in memory meanwhile."""
        async with self._looking:
            if self._own_name is None:
                await self._look()
        if not adapter:
            assert self._own_name is not None
            yield self._own_name
            return
        while adapter not in self._loaded:
            await self._wait_for(adapter, folder)
        self._loaded[adapter] += 1
        self._loaded.move_to_end(adapter)
        try:
            yield adapter
        finally:
            if adapter in self._loaded:
                self._loaded[adapter] = max(0, self._loaded[adapter] - 1)

    async def _look(self) -> None:
        """Learn the server's own name for its base, and which of our adapters it has."""
        reply = await self._call("models", b"", method="GET")
        try:
            entries = load_json(reply.body)["data"]
            own = [each["id"] for each in entries if not each.get("parent")]
            adapters = [each["id"] for each in entries if each.get("parent")]
            name = str(own[0])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self._unavailable("does not say which model it has") from error
        self._own_name = name
        for each in adapters:
            if each.startswith("ft:"):
                self._loaded.setdefault(each, 0)

    async def _wait_for(self, adapter: str, folder: str) -> None:
        """Have an adapter loaded, once for all who wait; it goes on loading when they do not."""
        if adapter not in self._loading:
            self._loading[adapter] = task = asyncio.create_task(self._load(adapter, folder))
            task.add_done_callback(lambda done: self._loading_ended(adapter, done))
        try:
            async with asyncio.timeout(self._limits.load_seconds):
                await asyncio.shield(self._loading[adapter])
        except TimeoutError as late:
            raise Unavailable(
                f"The model {adapter!r} is being loaded, which takes longer than "
                f"{self._limits.load_seconds:g} seconds: try again later, or raise "
                "SELFTUNE_SERVING_LOAD_SECONDS.",
                code="server_is_overloaded",
            ) from late

    def _loading_ended(self, adapter: str, done: asyncio.Task[None]) -> None:
        self._loading.pop(adapter, None)
        if not done.cancelled():
            done.exception()  # whoever waits has it; without anyone, nobody is warned of it

    async def _load(self, adapter: str, folder: str) -> None:
        await self._make_room()
        reply = await self._post("load_lora_adapter", {"lora_name": adapter, "lora_path": folder})
        if reply.status != 200:
            _, message = refusal_of(reply)
            if "already" not in message:  # another process was faster
                _log.error("%s cannot load %s: %s", self._address, folder, message)
                raise Unavailable(
                    f"The model server cannot load the model {adapter!r}: whoever runs this "
                    "server finds the reason in its log.",
                    code="model_failed",
                )
        self._loaded.setdefault(adapter, 0)

    async def _make_room(self) -> None:
        while len(self._loaded) >= self._limits.most_adapters:
            idle = next((name for name, users in self._loaded.items() if users == 0), None)
            if idle is None:  # the server itself may make room among those that are in use
                return
            del self._loaded[idle]
            reply = await self._post("unload_lora_adapter", {"lora_name": idle})
            if reply.status not in (200, 404):
                _log.warning("%s does not unload %s: %s", self._address, idle, refusal_of(reply)[1])

    def _forget(self) -> None:
        """Ask the server anew what it has: it was started again, or somebody else unloaded."""
        self._own_name = None
        self._loaded.clear()

    async def _answer(
        self, asked: SampleRequest, model: str
    ) -> AsyncGenerator[list[WirePiece], None]:
        reading = Reading(asked)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        connections = self._connections_to(path_of(asked))
        posting = asyncio.create_task(connections.post(body_of(asked, model), {}, queue.put_nowait))
        posting.add_done_callback(lambda _: queue.put_nowait(None))
        has_end = False
        try:
            while (data := await self._next(queue)) is not None:
                if some := reading.feed(data):
                    has_end = has_end or any(isinstance(piece, EndPiece) for piece in some)
                    yield some
            self._check(await posting, model)
            if not has_end:
                raise self._unavailable("ended an answer in its middle")
        except NoAnswer as error:
            raise self._unavailable("cannot be reached", str(error)) from error
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)

    async def _next(self, queue: "asyncio.Queue[bytes | None]") -> bytes | None:
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                return await queue.get()
        except TimeoutError as late:
            raise Unavailable(
                f"The model did not answer within {self._limits.wait_seconds:g} seconds: try "
                "again later, or raise SELFTUNE_SERVING_WAIT_SECONDS.",
                code="server_is_overloaded",
            ) from late

    def _check(self, reply: Reply, model: str) -> None:
        """Raise what a refusal means to who asks."""
        if reply.status == 200:
            return
        code, message = refusal_of(reply)
        if reply.status == 404:
            raise _Gone(model)
        if reply.status == 429:
            raise LimitExceeded(message, code="rate_limit_exceeded")
        if reply.status == 413:
            raise TooLarge(message, code=code)
        if reply.status in (400, 422):
            if "context length" in message:
                code = "context_length_exceeded"
            raise InvalidInput(message, code=code)
        raise self._unavailable(f"says {reply.status}", message)

    async def _post(self, path: str, body: dict[str, str]) -> Reply:
        return await self._call(path, orjson.dumps(body), method="POST")

    async def _call(self, path: str, body: bytes, *, method: str) -> Reply:
        try:
            async with asyncio.timeout(self._limits.load_seconds):
                reply = await self._connections_to(path, method).post(body, {})
        except NoAnswer as error:
            raise self._unavailable("cannot be reached", str(error)) from error
        except TimeoutError as late:
            raise self._unavailable("does not answer in time") from late
        if reply.status in (401, 403):
            raise self._unavailable(f"refuses the key in {KEY_VARIABLE}")
        if reply.status == 404 and path.endswith("load_lora_adapter") and b"detail" in reply.body:
            raise self._unavailable(
                "loads no adapters: start it with --enable-lora and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=true"
            )
        return reply

    def _connections_to(self, path: str, method: str = "POST") -> Connections:
        if path not in self._connections:
            key = read_variable(KEY_VARIABLE)
            headers = {
                "user-agent": f"selftune/{version('selftune')}",
                "content-type": "application/json",
            } | ({"authorization": f"Bearer {key}"} if key else {})
            route = route_to(f"{self._address}/{path}")
            self._connections[path] = Connections(route, headers, _LONGEST_SECONDS, method=method)
        return self._connections[path]

    def _unavailable(self, why: str, detail: str = "") -> SelftuneError:
        """Return what callers are told; address and detail are for the log."""
        where = self._address.rpartition("@")[2]
        _log.error("the model server at %s %s: %s", where, why, detail or "no more is known")
        return Unavailable(
            f"The server of this model does not answer as it should: it {why}. Whoever runs this "
            "server finds more in its log.",
            code="server_is_overloaded",
        )
