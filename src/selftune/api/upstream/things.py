"""Requests that ask no model: answered here where what they name is here, else by upstream.

So ids of the account upstream go on to work under this address, and so does work on its files. What
is new is made here, and lists are of what is here.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from selftune.api.archive.bring import shelf_of
from selftune.api.context import Context
from selftune.api.upstream.asked import UNREADABLE
from selftune.api.upstream.incoming import body_of, is_form, outgoing_of, rest_of
from selftune.api.upstream.passing import Passing
from selftune.api.upstream.within import Held, replayed
from selftune.core.errors import NotFound
from selftune.core.records import Identity
from selftune.store.files import get_file

_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
_UNKNOWN = frozenset((404,))
_FILE_OF = {"/v1/fine_tuning/jobs": "training_file", "/v1/batches": "input_file_id"}
"""New work, and where it names the file that it works on."""


class _Work(msgspec.Struct):
    training_file: str = ""
    input_file_id: str = ""


_decoder = msgspec.json.Decoder(_Work)


class Things:
    """The application for such requests."""

    def __init__(
        self, app: ASGIApp, parts: Context, routes: Sequence[BaseRoute], passing: Passing
    ) -> None:
        self._app, self._parts = app, parts
        self._routes, self._passing = routes, passing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        names = self._names(scope)
        if names is None:
            await self._pass_on(scope, receive, send)
        elif names:
            await self._look_for(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] in _FILE_OF:
            await self._follow_file(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _names(self, scope: Scope) -> Mapping[str, Any] | None:
        """Return what a path names, such as an id; None where the path is none of ours."""
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                names: Mapping[str, Any] = found["path_params"]
                return names
        return None

    async def _look_for(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer of what is here, else pass on.

        A form may be large, and is not kept to be read again: of what is not here, none is read.
        """
        body = None if is_form(scope) else await body_of(receive)
        held = Held(send, _UNKNOWN)
        try:
            await self._app(dict(scope), _again(body, receive), held.send)
        except NotFound:  # in the words of what stands before the handlers: an archive
            if held.has_begun:
                raise
        else:
            if held.refusal is None:
                return
        await self._pass_on(scope, _again(body, receive), send)

    async def _follow_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin work where its file is."""
        body = await body_of(receive)
        try:
            name = getattr(_decoder.decode(body), _FILE_OF[scope["path"]])
        except UNREADABLE:
            name = ""  # the refusal of what cannot be read is ours
        caller: Identity = scope["selftune.identity"]
        is_ours = not name or await run_in_threadpool(self._has_file, caller, name)
        await (self._app if is_ours else self._pass_on)(scope, replayed(body, receive), send)

    def _has_file(self, caller: Identity, name: str) -> bool:
        shelf = shelf_of(self._parts, caller)
        if "\0" in name or (shelf is not None and shelf.has("file", name)):
            return True
        try:
            get_file(self._parts.store, caller.project_id, name)
        except NotFound:
            return False
        return True

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in _METHODS:
            await self._app(scope, receive, send)
            return
        first = await receive()
        if first["type"] != "http.request":
            raise ClientDisconnect
        body: bytes | AsyncIterator[bytes] = first.get("body", b"")
        if first.get("more_body", False):
            body = rest_of(first, receive)
        await self._passing.answer(scope, (receive, send), outgoing_of(scope, body), None)


def _again(body: bytes | None, receive: Receive) -> Receive:
    return receive if body is None else replayed(body, receive)
