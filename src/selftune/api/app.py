"""The HTTP application: every router is named here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from selftune.api import errors
from selftune.api.archive.archive import Archive
from selftune.api.archive.front import Front
from selftune.api.archive.shelf import Shelf
from selftune.api.auth import Authenticator
from selftune.api.batches import routes as batches
from selftune.api.chat import routes as chat
from selftune.api.completions import routes as completions
from selftune.api.context import Context, answer
from selftune.api.embeddings import routes as embeddings
from selftune.api.evals import report
from selftune.api.evals import routes as evals
from selftune.api.evals import runs as eval_runs
from selftune.api.files import routes as files
from selftune.api.fine_tuning import permissions
from selftune.api.fine_tuning import routes as fine_tuning
from selftune.api.graders import routes as graders
from selftune.api.middleware import Gate
from selftune.api.models import routes as models
from selftune.api.responses import routes as responses
from selftune.api.uploads import routes as uploads
from selftune.api.upstream.account import Upstream
from selftune.api.upstream.cutover import Cutover
from selftune.core.records import Identity
from selftune.models.relay import Relay
from selftune.serve.client import ServingClient
from selftune.store.accounts import DEFAULT_PROJECT, default_identity
from selftune.store.store import Store

ROUTERS = (
    files.router,
    uploads.router,
    fine_tuning.router,
    permissions.router,
    graders.router,
    evals.router,
    eval_runs.router,
    models.router,
    chat.router,
    responses.router,
    completions.router,
    embeddings.router,
    batches.router,
)


def create_app(
    store: Store,
    serving: ServingClient,
    *,
    without_keys: bool = False,
    caller: Identity | None = None,
    archive: Archive | None = None,
    upstream: Upstream | None = None,
) -> Starlette:
    """Return the application. Where there is a `caller`, every request is theirs.

    An archive is what the default project sees beside its own objects; an account upstream is
    asked for all that is not here.
    """
    routes = [route for router in ROUTERS for route in router.routes]
    shelf = None if archive is None else Shelf(archive, DEFAULT_PROJECT)
    parts = Context(store, serving, Relay(store.root), shelf)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await parts.close()

    routes += [*report.router.routes, Route("/health", health)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.context = parts
    errors.install(app)
    everybody = default_identity(store) if without_keys else caller
    authenticator = Authenticator(store, everybody)
    if shelf is not None:
        app.add_middleware(Front, shelf=shelf)
    if upstream is not None:
        app.add_middleware(Cutover, parts=parts, routes=tuple(routes), upstream=upstream)
    app.add_middleware(Gate, store=store, authenticator=authenticator)
    return app


def health(_request: Request) -> Response:
    """Say that the process answers."""
    return answer({"status": "ok"})
