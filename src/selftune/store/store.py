"""The store as one value: database, blobs, folders, ids and the clock, handed to every verb."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from selftune.core.ids import IdSource
from selftune.core.settings import Settings
from selftune.store.accounts import ensure_default_project
from selftune.store.blobs import Blobs
from selftune.store.db import Database, open_database

SPEC_PROFILE_SEED = 2026


@dataclass(frozen=True)
class Store:
    """Where everything is kept."""

    settings: Settings
    root: Path
    db: Database
    blobs: Blobs
    ids: IdSource
    clock: Callable[[], float]

    def now(self) -> int:
        """Return the time as OpenAI writes it: whole Unix seconds."""
        return int(self.clock())

    def folder(self, name: str) -> Path:
        """Return a folder of the home folder; it exists."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def told(self, message: str) -> str:
        """Return a message as callers read it, who are not told where the server is."""
        return message.replace(str(self.root), "the home folder")

    def close(self) -> None:
        """Give the database's connections back."""
        self.db.close()


def open_store(
    settings: Settings, *, ids: IdSource | None = None, clock: Callable[[], float] = time.time
) -> Store:
    """Open the home folder, making what is missing: folders, tables, the default project."""
    root = settings.root
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = open_database(settings.database_url, root / "selftune.db")
    blobs = Blobs(settings.blobs_url or str(root / "blobs"), root / "tmp")
    seed = SPEC_PROFILE_SEED if settings.profile == "spec" else None
    store = Store(settings, root, database, blobs, ids or IdSource(seed), clock)
    ensure_default_project(database, settings.organization)
    return store
