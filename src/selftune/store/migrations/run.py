"""Bring a database to the newest revision, once, even when two processes open it together."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from selftune.store.db import Database


def upgrade(database: Database) -> None:
    """Run the missing migrations; whoever comes second waits, and finds nothing to do."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with database.write() as connection:
        database.lock(connection, "migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
