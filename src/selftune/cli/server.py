"""`selftune serve`: the API, its worker and its serving process, kept alive together."""

import contextlib
import fcntl
import gc
import ipaddress
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import err, out
from selftune.cli.grouping import grouped
from selftune.cli.upstream import PassingOn, introduce_upstream, recorder_of, upstream_of
from selftune.core.errors import InvalidInput
from selftune.core.settings import Settings, child_environment, load_settings
from selftune.jobs.devices import find_devices
from selftune.jobs.processes import KeptAlive, check_python
from selftune.store.accounts import create_key, list_keys
from selftune.store.store import Store, open_store

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from selftune.api.upstream.account import Upstream
    from selftune.rescue.archive.reader import Archive

_BACKLOG = 2048
_OBJECTS = 20_000
"""New objects before the rubbish among them is looked for. With the usual 700, a burst of 200 requests
had all that is under way looked through, which cost a fifth of the processor time."""


@grouped
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.")] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no key; on loopback only.")
    ] = False,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Start no worker; run one with `selftune worker`.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `selftune rescue archive`: what is in it is answered under its old "
            "ids, read-only, to keys of the default project.",
            metavar="DIR",
        ),
    ] = None,
    passing: PassingOn,
) -> None:
    """Serve OpenAI's API from this machine."""
    workers = 0 if no_worker else None
    settings = load_settings(host=host, port=port, workers=workers, upstream=passing.upstream)
    if no_auth and not _is_loopback(settings.host):
        raise InvalidInput(
            f"--no-auth is allowed on loopback only, and {settings.host!r} is not: "
            "listen on 127.0.0.1 or use keys."
        )
    check_python(settings.train_python)
    find_devices(settings.devices)  # raises what is wrong with the setting, here and not in a log
    opened = None if archive is None else _opened(archive)
    store = open_store(settings)
    upstream = upstream_of(store, passing)
    with _only_server(store), _listen(settings) as listening, _children(store, upstream):
        url = f"http://{_shown(settings.host)}:{listening.getsockname()[1]}"
        _introduce(store, url, no_auth=no_auth)
        if opened is not None:
            _introduce_archive(opened)
        if upstream is not None:
            introduce_upstream(upstream)
        from selftune.asgi import application  # slow to import: after what is printed

        app = application(store, without_keys=no_auth, archive=opened, upstream=upstream)
        _run(app, listening)


def worker() -> None:
    """Take jobs and run them, until stopped; beside a server, or on another machine."""
    from selftune.worker import main

    raise typer.Exit(main([]))


def _run(app: "Starlette", listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        loop="auto",
        http="httptools",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    gc.collect()
    gc.freeze()  # what is loaded stays: to look through it for rubbish held all answers up for 150 ms
    gc.set_threshold(_OBJECTS, 20, 50)
    uvicorn.Server(config).run(sockets=[listening])


def _introduce(store: Store, url: str, *, no_auth: bool) -> None:
    """Print where the server is, and at the very first start the key."""
    record = store.folder("run") / "server.json"
    record.write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="utf-8")
    out.print(f"selftune listens on [bold]{url}/v1[/]; home: {store.root}", soft_wrap=True)
    out.print(f"  export OPENAI_BASE_URL={url}/v1", soft_wrap=True)
    if no_auth:
        out.print("  export OPENAI_API_KEY=none")
        return
    if not list_keys(store):
        _, secret = create_key(store, "first key", is_admin=True)
        out.print(f"  export OPENAI_API_KEY={secret}", soft_wrap=True)
        out.print("[yellow]This key is shown once and stored hashed: keep it.[/]")
    else:
        out.print("  export OPENAI_API_KEY=…    (make another with `selftune keys create NAME`)")


def _opened(folder: Path) -> "Archive":
    from selftune.rescue.archive.reader import Archive

    return Archive.open(folder)


def _introduce_archive(archive: "Archive") -> None:
    """Print what else is answered, and whether it is all there was."""
    from selftune.rescue.archive.format import NAMES

    told = archive.manifest
    kept = [
        f"{sum(states.values()):,} {NAMES[kind]}"
        for kind, states in told.counts.items()
        if kind in NAMES and kind != "list"
    ]
    out.print(
        f"  archive of {told.source.base_url}, read-only: {', '.join(kept) or 'nothing'}",
        markup=False,
        soft_wrap=True,
    )
    if not told.is_complete:
        err.print(
            f"The archive is not complete: `selftune rescue archive {archive.folder}` goes on; "
            "start the server again afterwards.",
            markup=False,
            soft_wrap=True,
        )


@contextlib.contextmanager
def _only_server(store: Store) -> Iterator[None]:
    """Hold the home folder's lock: one server each."""
    path = store.folder("run") / "server.lock"
    handle: IO[str] = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InvalidInput(
            f"A server runs on {store.root} already: stop it, or set SELFTUNE_HOME to another "
            "folder."
        ) from error
    try:
        yield
    finally:
        (store.root / "run" / "server.json").unlink(missing_ok=True)
        handle.close()


@contextlib.contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)  # who connects before the API is ready waits for it
    except OSError as error:
        listening.close()
        raise InvalidInput(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another with --port, or 0 for a free one."
        ) from error
    with contextlib.closing(listening):
        yield listening


@contextlib.contextmanager
def _children(store: Store, upstream: "Upstream | None") -> Iterator[None]:
    """Keep the worker, the serving process and what records alive while the server runs."""
    from selftune.serve.address import socket_path

    environment, logs = child_environment(store.settings), store.folder("logs")
    listens_at = str(socket_path(store.folder("run")))
    children = [
        KeptAlive("selftune.serve.process", (listens_at,), environment, logs / "serving.log")
    ]
    for number in range(store.settings.workers):
        log = logs / f"worker-{number}.log"
        children.append(KeptAlive("selftune.worker", (), environment, log))
    if upstream is not None:
        children.append(recorder_of(store, upstream))
    for child in children:
        child.start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        err.print("stopping")
    finally:
        for child in children:
            child.stop()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
