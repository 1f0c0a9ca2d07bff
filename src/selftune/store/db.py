"""The database: SQLite by default, Postgres by URL, the same SQL on both.

Reads and writes are short transactions. A write on SQLite takes the write lock at its start
(`BEGIN IMMEDIATE`), so it never has to be repeated half way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import Table

from selftune.core.errors import Unavailable

if TYPE_CHECKING:  # a dialect is imported when a database speaks it
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

_BUSY_MILLISECONDS = 30_000
_POOL = 20
"""Twice as many connections are the most: more than the server's threads ever use at once."""
_FULL = ("database or disk is full", "No space left on device")


class Database:
    """Hands out transactions."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, which has one writer at a time and no row locks."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction; it is committed at the end and rolled back on any error."""
        writing = self.engine.execution_options(selftune_write=True)
        try:
            with writing.begin() as connection:
                yield connection
        except OperationalError as error:
            if not any(text in str(error.orig) for text in _FULL):
                raise
            raise Unavailable(
                "The server's disk is full: nothing was stored. Free space and send it again.",
                code="disk_full",
            ) from error

    def lock(self, connection: Connection, name: str) -> None:
        """Let one transaction at a time pass, per name. SQLite has one writer anyway."""
        if not self.is_sqlite:
            number = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
            connection.execute(select(func.pg_advisory_xact_lock(number)))

    def insert_new(self, table: Table) -> "SqliteInsert | PostgresInsert":
        """Return an INSERT that leaves an existing row as it is."""
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table).on_conflict_do_nothing()
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing()

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def open_database(url: str, default: Path) -> Database:
    """Open the database at `url`, or SQLite in the file `default`, and bring it up to date."""
    target = make_url(url) if url else URL.create("sqlite", database=str(default))
    if target.drivername in ("postgres", "postgresql"):  # the driver that the extra installs
        target = target.set(drivername="postgresql+psycopg")
    engine = create_engine(
        target,
        pool_size=_POOL,
        max_overflow=_POOL,
        pool_pre_ping=target.get_backend_name() != "sqlite",
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    database = Database(engine)
    _migrate(database)
    return database


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the begin event below starts transactions
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("selftune_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def _migrate(database: Database) -> None:
    """Run what is missing. Alembic is imported only when there is something to run."""
    from selftune.store.migrations import HEAD

    with database.read() as connection:
        current = None
        if inspect(connection).has_table("alembic_version"):
            current = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if current != HEAD:
        from selftune.store.migrations.run import upgrade

        upgrade(database)
