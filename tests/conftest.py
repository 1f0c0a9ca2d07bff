"""Stores for tests, on SQLite and a real Postgres where one can be started; and a teacher to ask."""

import gc
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher, teaching

from selftune.core.records import File
from selftune.core.settings import Settings
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.db import open_database
from selftune.store.store import Store, open_store

OpenStore = Callable[..., Store]


def pytest_configure(config: pytest.Config) -> None:
    """Let processes of tests share the cores, and Ctrl-C be pressed.

    Where the shell started this in the background, Ctrl-C is ignored.
    """
    environment = pytest.MonkeyPatch()
    environment.setenv("SELFTUNE_THREADS", "1")  # several at a time: more threads only wait
    config.add_cleanup(environment.undo)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave all that was imported by now out of later searches for garbage: it stays."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: what is left at the end is shared evenly."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def teaching_server() -> Iterator[Teacher]:
    with teaching() as running:
        yield running


@pytest.fixture
def teacher(teaching_server: Teacher) -> Teacher:
    """Give the one teacher of all tests, without memory of the last one."""
    teaching_server.forget()
    return teaching_server


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database that migrations made, to be copied: it has tables and no rows."""
    file = tmp_path_factory.mktemp("migrated") / "selftune.db"
    open_database("", file).close()
    return file


@pytest.fixture
def new_home(tmp_path: Path, migrated: Path) -> Path:
    """Give a home folder with an empty database."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(migrated, folder)
    return folder


@pytest.fixture
def open_sqlite(new_home: Path) -> Iterator[OpenStore]:
    """Open stores on SQLite; keyword arguments are settings."""
    yield from _opener(new_home, {})


@pytest.fixture
def store(open_sqlite: OpenStore) -> Store:
    return open_sqlite()


@pytest.fixture(params=["sqlite", "postgres"])
def any_store(request: pytest.FixtureRequest, new_home: Path) -> Iterator[Store]:
    """Give a store on each database, empty."""
    url = {"database_url": request.getfixturevalue("postgres")} if request.param != "sqlite" else {}
    for opener in _opener(new_home, url):
        yield opener()


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """Give the address of a database on a real Postgres, as `migrated` is on SQLite."""
    import psycopg

    admin = psycopg.connect(f"{postgres_server}&dbname=postgres", autocommit=True)
    name = f"test_{os.urandom(6).hex()}"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE migrated".encode())
    yield postgres_server.replace("@/", f"@/{name}")
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    admin.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Postgres of Debian's package, on a socket only, with a database `migrated`."""
    import psycopg

    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no Postgres server here: apt-get install postgresql")
    as_user: list[str] = []
    folder = tmp_path_factory.mktemp("postgres")
    if os.getuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("no user 'postgres' to run the server as")
        as_user = ["runuser", "-u", "postgres", "--"]
        folder = Path("/tmp") / f"selftune-postgres-{os.getpid()}"  # others may enter /tmp
        folder.mkdir(mode=0o700)
        os.chown(folder, account.pw_uid, account.pw_gid)
    binaries = found[-1].parent
    data = str(folder / "data")
    run = [*as_user, str(binaries / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N"]
    subprocess.run(run, check=True, capture_output=True)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    control = [*as_user, str(binaries / "pg_ctl"), "-D", data]
    start = [*control, "-w", "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, capture_output=True)
    try:
        address = f"postgresql://postgres@/?host={folder}"
        with psycopg.connect(f"{address}&dbname=postgres", autocommit=True) as admin:
            admin.execute("CREATE DATABASE migrated")
        open_database(address.replace("@/", "@/migrated"), folder / "unused").close()
        yield address
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _opener(home: Path, fixed: dict[str, str]) -> Iterator[OpenStore]:
    opened: list[Store] = []

    def opener(**settings: object) -> Store:
        values = {"home": home} | fixed | settings
        clock = values.pop("clock", None)
        chosen = Settings.model_validate(values)
        store = open_store(chosen, clock=clock) if callable(clock) else open_store(chosen)
        opened.append(store)
        return store

    yield opener
    for store in opened:
        store.close()


def stored_file(
    store: Store, content: bytes, *, purpose: str = "fine-tune", project_id: str = DEFAULT_PROJECT
) -> File:
    """Store bytes and return the record of a file that is not saved yet."""
    with store.blobs.writer() as writer:
        writer.write(content)
        blob = writer.commit()
    return File(
        id=store.ids.new("file-"),
        project_id=project_id,
        filename="data.jsonl",
        purpose=purpose,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
