"""Keys stand for projects, and are never kept themselves."""

import pytest
from sqlalchemy import select
from tests.conftest import OpenStore

from selftune.core.errors import NotFound
from selftune.store.accounts import (
    DEFAULT_PROJECT,
    create_key,
    create_project,
    default_identity,
    identify,
    list_keys,
    list_projects,
    revoke_key,
)
from selftune.store.schema import api_keys
from selftune.store.store import Store


def test_a_key_stands_for_its_project(any_store: Store) -> None:
    project = create_project(any_store, "research")
    key, secret = create_key(any_store, "laptop", project_id=project.id, is_admin=True)
    identity = identify(any_store, secret)
    assert identity is not None
    assert (identity.key_id, identity.project_id) == (key.id, project.id)
    assert (identity.organization, identity.is_admin) == ("selftune", True)


def test_the_secret_is_not_kept(any_store: Store) -> None:
    _, secret = create_key(any_store, "laptop")
    with any_store.db.read() as connection:
        row = connection.execute(select(api_keys)).one()
    assert secret not in repr(row)
    assert secret.startswith("sk-selftune-")


def test_a_revoked_or_unknown_key_stands_for_nobody(any_store: Store) -> None:
    key, secret = create_key(any_store, "laptop")
    revoke_key(any_store, key.id)
    assert identify(any_store, secret) is None
    assert identify(any_store, "sk-unknown") is None
    assert [one.revoked_at is not None for one in list_keys(any_store)] == [True]
    with pytest.raises(NotFound):
        revoke_key(any_store, key.id)


def test_a_project_of_the_same_name_is_the_same_project(any_store: Store) -> None:
    assert create_project(any_store, "one") == create_project(any_store, "one")
    assert [project.name for project in list_projects(any_store)] == ["default", "one"]


def test_the_default_identity_carries_the_organisations_slug(open_sqlite: OpenStore) -> None:
    identity = default_identity(open_sqlite(organization="acme"))
    assert (identity.organization, identity.project_id) == ("acme", DEFAULT_PROJECT)
