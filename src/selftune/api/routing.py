"""Paths to handlers: Starlette's routes, with a path's parameters as the handler's arguments.

Handlers read the request and make the response themselves, so nothing that makes models of both is
loaded: it was a third of the server's start.
"""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TypeVar, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = TypeVar("Handler", bound=Callable[..., Response | Awaitable[Response]])


class Router:
    """The routes of one resource. A plain handler runs in a thread, an `async` one in the loop."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.routes: list[BaseRoute] = []

    def get(self, path: str) -> Callable[[Handler], Handler]:
        """Return what makes a function answer GET."""
        return self._on("GET", path)

    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Return what makes a function answer POST."""
        return self._on("POST", path)

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        """Return what makes a function answer DELETE."""
        return self._on("DELETE", path)

    def _on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            endpoint = _in_loop(handler) if iscoroutinefunction(handler) else _in_thread(handler)
            route = Route(self._prefix + path, endpoint, methods=[method])
            route.methods = {method}  # without the HEAD that comes with GET: OpenAI has none
            self.routes.append(route)
            return handler

        return register


def _in_loop(handler: Callable[..., object]) -> Endpoint:
    asynchronous = cast(Callable[..., Awaitable[Response]], handler)

    async def endpoint(request: Request) -> Response:
        return await asynchronous(request, **request.path_params)

    return endpoint


def _in_thread(handler: Callable[..., object]) -> Endpoint:
    plain = cast(Callable[..., Response], handler)

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(plain, request, **request.path_params)

    return endpoint
