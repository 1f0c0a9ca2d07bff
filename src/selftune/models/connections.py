"""HTTP/1.1 to one place, as thin as asking needs: connections are kept and used again.

No redirects, no cookies, no compression, no retries; one request at a time on a connection.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

from selftune.models.exchange import Connection, OnPiece, Reply
from selftune.models.pool import Pool
from selftune.models.route import Route

_AT_ONCE = 8
"""So many answers are handed over before new bytes are looked for: else those would be read late,
and their times would be wrong."""


class Connections(Pool[Connection]):
    """Connections to one place; each is kept for the next request."""

    def __init__(
        self,
        route: Route,
        headers: Mapping[str, str],
        timeout_seconds: float,
        *,
        method: str = "POST",
    ) -> None:
        super().__init__(route, timeout_seconds, lambda: Connection(self))
        self.requests = 0
        """Requests sent so far."""
        self._head = _head(route, headers, method)
        self._answered: deque[tuple[asyncio.Future[Reply], Reply]] = deque()

    async def post(
        self, body: bytes, headers: Mapping[str, str], on_piece: OnPiece | None = None
    ) -> Reply:
        """Send a request; return its answer. Events go to `on_piece` as they come.

        Raises:
            NoAnswer: one of its kinds.

        """
        connection = self.take_idle()
        if connection is None:
            connection = await self.connect()
        named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{self._head}{named}content-length: {len(body)}\r\n\r\n"
        self.requests += 1
        reply = connection.send(head.encode("latin-1") + body, self._timeout_seconds, on_piece)
        try:
            return await reply
        except asyncio.CancelledError:
            connection.abort()
            raise

    def hand_over(self, future: "asyncio.Future[Reply]", reply: Reply) -> None:
        """Wake up who waits for a reply, soon."""
        self._answered.append((future, reply))
        if len(self._answered) == 1:
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._answered))):
            future, reply = self._answered.popleft()
            if not future.done():
                future.set_result(reply)
        if self._answered:
            asyncio.get_running_loop().call_soon(self._wake)


def _head(route: Route, headers: Mapping[str, str], method: str) -> str:
    """Return the first line of a request, and the headers that all requests share."""
    named = {"host": route.host, "accept-encoding": "identity", **headers}
    if route.authorization is not None:
        named["authorization"] = route.authorization
    if route.proxy is not None and not route.is_secure and route.proxy.authorization:
        named["proxy-authorization"] = route.proxy.authorization
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {route.target} HTTP/1.1\r\n{lines}"
