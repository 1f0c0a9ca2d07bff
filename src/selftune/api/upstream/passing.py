"""Hand a request on to the account upstream, and its answer back, byte by byte as they come."""

import asyncio
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from selftune.api.middleware import IS_PASSED
from selftune.api.upstream.hearing import Hearing
from selftune.core.errors import Unavailable
from selftune.models.exchange import NoAnswer
from selftune.models.forward import Forwarder, Outgoing, passed_back
from selftune.models.passage import Answer

ANSWERED_BY = b"x-selftune-answered-by"
_TO_BACK_UP = frozenset((401, 403, 404, 408, 429))
"""Refusals, besides those of 500 and above, that another server need not repeat: of the key, of a
model that is gone, of too much at once."""
_log = logging.getLogger("selftune.upstream")


class Passing:
    """Passes requests on."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    async def answer(
        self, scope: Scope, ends: tuple[Receive, Send], outgoing: Outgoing, hearing: Hearing | None
    ) -> None:
        """Answer with what upstream says.

        Raises:
            Unavailable: it says nothing, or refuses this server's key.
            ClientDisconnect: the caller has gone; upstream has been let go.

        """
        failed = await self.attempt(scope, ends, outgoing, hearing, patience=None)
        assert failed is None

    async def attempt(
        self,
        scope: Scope,
        ends: tuple[Receive, Send],
        outgoing: Outgoing,
        hearing: Hearing | None,
        *,
        patience: float | None,
    ) -> str | None:
        """Answer with what upstream says; return why nothing was answered.

        It has some seconds to begin. Without `patience` nobody else is asked: raises as `answer`.
        """
        try:
            return await self._ask(scope, ends, outgoing, hearing, patience)
        except ClientDisconnect:
            if hearing is None or not hearing.is_whole:
                raise
            return None

    async def close(self) -> None:
        """End the connections."""
        await self._forwarder.close()

    async def _ask(
        self,
        scope: Scope,
        ends: tuple[Receive, Send],
        outgoing: Outgoing,
        hearing: Hearing | None,
        patience: float | None,
    ) -> str | None:
        receive, send = ends
        async with _Caller(receive) as caller:
            if isinstance(outgoing.body, bytes):
                caller.watch()
            else:
                outgoing = outgoing._replace(body=caller.then_watch(outgoing.body))
            try:
                async with asyncio.timeout(patience):
                    answer = await self._forwarder.send(outgoing)
            except TimeoutError:
                return f"it says nothing for {patience:g} seconds"
            except NoAnswer as error:
                _log.warning("%s: %s", self._forwarder.profile.name, error)
                if patience is not None:
                    return str(error)
                raise _silent(error) from error
            try:
                status = answer.head.result().status
                if patience is not None and (status >= 500 or status in _TO_BACK_UP):
                    return f"it says {status}"
                if status == 401:
                    raise self._refused()
                await _hand_back(scope, send, answer, hearing)
            finally:
                answer.end()
        return None

    def _refused(self) -> Unavailable:
        name = self._forwarder.profile.name
        _log.error("%s does not accept this server's key: check it.", name)
        return Unavailable(
            f"The upstream account {name!r} refuses this server's key: whoever runs this server "
            "must mend it.",
            code="upstream_refuses",
        )


async def _hand_back(scope: Scope, send: Send, answer: Answer, hearing: Hearing | None) -> None:
    head = answer.head.result()
    headers = [pair for pair in passed_back(head.headers) if pair[0] != ANSWERED_BY]
    if all(name != b"x-request-id" for name, _ in headers):
        headers.append((b"x-request-id", scope["selftune.request_id"].encode()))
    headers.append((ANSWERED_BY, b"upstream"))
    scope[IS_PASSED] = True
    if hearing is not None:
        send = hearing.listen(send)
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    more = True
    while more:
        try:
            piece = await answer.read()
        except NoAnswer as error:  # the caller reads that it is cut, as it would without us
            _log.warning("An answer was cut: %s", error)
            return
        more = not answer.is_complete
        await send({"type": "http.response.body", "body": piece, "more_body": more})


class _Caller:
    """Ends the work of the current task when the caller goes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self._work = asyncio.current_task()
        self._has_gone = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        work, self._work = self._work, None  # what is over is not ended any more
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        if self._has_gone and kind is asyncio.CancelledError and work is not None:
            work.uncancel()
            raise ClientDisconnect from error

    def watch(self) -> None:
        """Begin to watch; the request has been read."""
        self._watch = asyncio.create_task(self._until_gone())
        self._watch.add_done_callback(self._end)

    async def then_watch(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what is read of a request, and watch after its end."""
        async for piece in body:
            yield piece
        self.watch()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _end(self, watch: "asyncio.Task[None]") -> None:
        if not watch.cancelled() and self._work is not None:
            self._has_gone = True
            self._work.cancel()


def _silent(error: NoAnswer) -> Unavailable:
    return Unavailable(f"The upstream account does not answer: {error}", code="upstream_down")
