"""Bring a database to the newest revision, once, even when two processes open it together."""

import fcntl
import tempfile
from hashlib import sha256
from pathlib import Path

from alembic import command
from alembic.config import Config

from selftune.store.db import Database


def upgrade(database: Database) -> None:
    """Run the missing migrations under a lock that other processes of this machine respect."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    name = sha256(str(database.engine.url).encode()).hexdigest()[:16]
    lock = Path(tempfile.gettempdir()) / f"selftune-migration-{name}.lock"
    with lock.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with database.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
