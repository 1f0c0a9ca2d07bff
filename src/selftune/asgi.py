"""The HTTP application: the API over an open store."""

from starlette.applications import Starlette

from selftune.api.app import create_app
from selftune.api.archive.archive import Archive
from selftune.api.upstream.account import Upstream
from selftune.core.records import Identity
from selftune.serve.address import socket_path
from selftune.serve.remote.serving import Serving
from selftune.store.store import Store


def application(
    store: Store,
    *,
    without_keys: bool = False,
    caller: Identity | None = None,
    archive: Archive | None = None,
    upstream: Upstream | None = None,
) -> Starlette:
    """Return the application for a home folder whose serving process listens beside it.

    Where there is a `caller`, every request is theirs; an archive is read beside the store, and an
    account upstream answers for what is not here.
    """
    serving = Serving(socket_path(store.folder("run")), store.settings)
    return create_app(
        store,
        serving,
        without_keys=without_keys,
        caller=caller,
        archive=archive,
        upstream=upstream,
    )
