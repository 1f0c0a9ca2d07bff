"""Which operations this server has, by method and the shape of their path."""

import re

from starlette.routing import Match, Route

from selftune.api.app import ROUTERS

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
_PREFIX = "/v1"


def shape(path: str) -> str:
    """Return a path template without the names of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def ours() -> set[tuple[str, str]]:
    """Return every operation of the application."""
    return {
        (method.lower(), shape(route.path.removeprefix(_PREFIX)))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method.lower() in METHODS
    }


def operation_of(method: str, path: str) -> tuple[str, str] | None:
    """Return the operation that answers a request, or None for a path that nobody serves."""
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
                return method.lower(), shape(route.path.removeprefix(_PREFIX))
    return None
