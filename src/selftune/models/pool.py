"""Connections to one place, opened when they are needed and kept for the next exchange."""

import asyncio
import ssl
from collections.abc import Callable
from time import perf_counter
from typing import Generic, TypeVar, cast

from selftune.models.exchange import LONGEST_HEAD, Line, NeverSent, Untrusted
from selftune.models.route import Hop, Route

_CONNECT_SECONDS = 30.0
_ADDRESS_SECONDS = 5.0
"""Of a name with several addresses: a dead one must not take all the time."""
_IDLE_SECONDS = 50.0
"""A connection that was idle for longer may have been forgotten by what is between."""


L = TypeVar("L", bound=Line)


class Pool(Generic[L]):
    """Connections of one kind to one place."""

    def __init__(self, route: Route, timeout_seconds: float, opener: Callable[[], L]) -> None:
        self._route = route
        self._timeout_seconds = timeout_seconds
        self._opener = opener
        self._addresses: list[str] = []
        self._resolving = asyncio.Lock()
        self._context: ssl.SSLContext | None = None
        self._open: set[L] = set()
        self._idle: dict[L, float] = {}

    async def close(self) -> None:
        """Close all connections."""
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def keep(self, connection: L) -> None:
        """Take back a connection that may be used again."""
        self._idle[connection] = perf_counter()

    def forget(self, connection: L) -> None:
        """Take note that a connection is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def take_idle(self) -> L | None:
        while self._idle:
            connection, since = self._idle.popitem()
            if connection.is_usable and perf_counter() - since < _IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def connect(self) -> L:
        seconds = min(_CONNECT_SECONDS, self._timeout_seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._connect_somewhere()
        except TimeoutError as error:
            raise NeverSent(f"No connection within {seconds:g} seconds.") from error
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(f"The certificate is not accepted: {error.verify_message}.") from error
        except OSError as error:
            raise NeverSent(f"No connection: {error.strerror or error}.") from error

    async def _connect_somewhere(self) -> L:
        """Return a connection to the first address that takes one, and begin with it next time."""
        hop = self._route.hop if self._route.proxy is None else self._route.proxy.hop
        async with self._resolving:
            self._addresses = self._addresses or await _addresses_of(hop)
        refused: OSError | None = None
        tried = tuple(self._addresses)
        for address in tried:
            seconds = None if address == tried[-1] else _ADDRESS_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    connection = await self._connect_to(Hop(address, hop.port))
            except ssl.SSLError:
                raise
            except OSError as error:
                refused = error
                continue
            if address in self._addresses:
                self._addresses.remove(address)
            self._addresses.insert(0, address)
            self._open.add(connection)
            return connection
        self._addresses = []
        raise refused or OSError(f"The name {hop.host!r} has no address")

    async def _connect_to(self, hop: Hop) -> L:
        loop, route = asyncio.get_running_loop(), self._route
        secure = self._secure_context() if route.is_secure else None
        name = route.hop.host if route.is_secure else None
        if secure is None or route.proxy is None:
            _, connection = await loop.create_connection(
                self._opener, hop.host, hop.port, ssl=secure, server_hostname=name
            )
            return connection
        plain, tunnel = await loop.create_connection(lambda: _Tunnel(route), hop.host, hop.port)
        try:
            await tunnel.opened
            connection = self._opener()
            wrapped = await loop.start_tls(plain, connection, secure, server_hostname=name)
        except BaseException:
            plain.abort()
            raise
        if wrapped is None:
            raise OSError("The proxy closed the connection")
        connection.connection_made(wrapped)
        return connection

    def _secure_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a connection to a host."""

    def __init__(self, route: Route) -> None:
        assert route.proxy is not None
        self._proxy = route.proxy
        self._place = route.place
        self._head = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        allowed = self._proxy.authorization
        lines = [f"CONNECT {self._place} HTTP/1.1", f"host: {self._place}"]
        lines += [f"proxy-authorization: {allowed}"] if allowed else []
        cast(asyncio.Transport, transport).write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.opened.done():
            return
        if b"\r\n\r\n" in self._head:
            first = self._head.split(b"\r\n", 1)[0].decode("latin-1")
            if first.split(" ")[1:2] == ["200"]:
                self.opened.set_result(None)
            else:
                self.opened.set_exception(OSError(f"The proxy says {first[:100]!r}"))
        elif len(self._head) > LONGEST_HEAD:
            self.opened.set_exception(OSError("The proxy's answer is no HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(OSError("The proxy closed the connection"))


async def _addresses_of(hop: Hop) -> list[str]:
    """Return the addresses of a name, in the resolver's order; asked once, not per connection."""
    import socket

    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))
