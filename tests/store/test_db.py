"""Migrations, transactions and what they cost at import."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError
from tests.conftest import OpenStore

from selftune.core.errors import Unavailable
from selftune.store import migrations
from selftune.store.accounts import DEFAULT_ORGANIZATION
from selftune.store.schema import metadata, projects
from selftune.store.store import Store, open_store


def test_the_migrations_make_exactly_the_tables_of_the_schema(any_store: Store) -> None:
    with any_store.db.read() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == migrations.HEAD
        assert compare_metadata(context, metadata) == []


def test_the_newest_script_is_the_revision_that_the_store_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_a_database_of_the_first_schema_is_brought_up_to_date(any_store: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with any_store.db.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    open_store(any_store.settings).close()
    with any_store.db.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_store_that_is_up_to_date_opens_without_alembic(store: Store) -> None:
    code = (
        "import sys; from selftune.core.settings import Settings\n"
        "from selftune.store.store import open_store\n"
        f"open_store(Settings(home={str(store.root)!r})).close()\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_processes_may_open_a_new_store_at_once(any_store: Store, tmp_path: Path) -> None:
    with any_store.db.write() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    stores: list[Store] = []
    threads = [
        threading.Thread(target=lambda: stores.append(open_store(any_store.settings)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 4
    for store in stores:
        store.close()


def test_a_transaction_that_fails_leaves_nothing(any_store: Store) -> None:
    def count() -> int:
        with any_store.db.read() as connection:
            return connection.execute(select(func.count()).select_from(projects)).scalar_one()

    before = count()

    def fail() -> None:
        with any_store.db.write() as connection:
            values = {"id": "proj_x", "name": "x", "organization_id": DEFAULT_ORGANIZATION}
            connection.execute(projects.insert().values(values))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert count() == before


def test_a_full_disk_is_said_in_plain_words(store: Store) -> None:
    def fill() -> None:
        with store.db.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1")
            values = {
                "id": "proj_x",
                "name": "x" * 100_000,
                "organization_id": DEFAULT_ORGANIZATION,
            }
            connection.execute(projects.insert().values(values))

    with pytest.raises(Unavailable, match="disk is full") as caught:
        fill()
    assert caught.value.code == "disk_full"


def test_other_troubles_of_the_database_stay_what_they_are(any_store: Store) -> None:
    with pytest.raises(DatabaseError), any_store.db.write() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")


def test_opening_again_finds_what_was_there(open_sqlite: OpenStore) -> None:
    first = open_sqlite(organization="acme")
    second = open_sqlite(organization="acme")
    assert first.root == second.root
    with second.db.read() as connection:
        assert connection.execute(select(func.count()).select_from(projects)).scalar_one() == 1
