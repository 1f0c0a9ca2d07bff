"""Organisations, projects and API keys. Keys are kept as SHA-256: they carry 285 random bits."""

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from selftune.core.errors import NotFound
from selftune.core.ids import api_key
from selftune.core.records import Identity, Record
from selftune.store.db import Database
from selftune.store.schema import api_keys, organizations, projects

if TYPE_CHECKING:
    from selftune.store.store import Store

DEFAULT_ORGANIZATION = "org-selftune000000000000000000"
DEFAULT_PROJECT = "proj_default0000000000000000"


class ApiKey(Record):
    """A key as it can be shown: never the secret."""

    id: str
    name: str
    hint: str
    """First and last characters, to recognise it by."""
    project_id: str
    is_admin: bool
    created_at: int
    revoked_at: int | None


class Project(Record):
    """A project: what a key sees."""

    id: str
    organization_id: str
    name: str


def ensure_default_project(database: Database, slug: str) -> None:
    """Make the default organisation and project if they are not there."""
    with database.write() as connection:
        connection.execute(
            database.insert_new(organizations).values(id=DEFAULT_ORGANIZATION, slug=slug)
        )
        connection.execute(
            database.insert_new(projects).values(
                id=DEFAULT_PROJECT, organization_id=DEFAULT_ORGANIZATION, name="default"
            )
        )


def create_project(store: "Store", name: str) -> Project:
    """Make a project in the default organisation, or return the one of that name."""
    with store.db.write() as connection:
        connection.execute(
            store.db.insert_new(projects).values(
                id=store.ids.new("proj_"), organization_id=DEFAULT_ORGANIZATION, name=name
            )
        )
        row = connection.execute(select(projects).where(projects.c.name == name)).one()
    return Project.model_validate(dict(row._mapping))


def list_projects(store: "Store") -> tuple[Project, ...]:
    """Return every project."""
    with store.db.read() as connection:
        rows = connection.execute(select(projects).order_by(projects.c.name)).all()
    return tuple(Project.model_validate(dict(row._mapping)) for row in rows)


def create_key(
    store: "Store", name: str, *, project_id: str = DEFAULT_PROJECT, is_admin: bool = False
) -> tuple[ApiKey, str]:
    """Make a key; the secret is returned here and nowhere else, ever."""
    secret = api_key()
    key = ApiKey(
        id=store.ids.new("key_"),
        name=name,
        hint=f"{secret[:15]}…{secret[-4:]}",
        project_id=project_id,
        is_admin=is_admin,
        created_at=store.now(),
        revoked_at=None,
    )
    values = key.model_dump() | {"is_admin": int(is_admin), "hash": _hash(secret)}
    with store.db.write() as connection:
        connection.execute(api_keys.insert().values(values))
    return key, secret


def identify(store: "Store", secret: str) -> Identity | None:
    """Return who a secret stands for, or None when it is unknown or revoked."""
    with store.db.read() as connection:
        row = connection.execute(
            select(
                api_keys.c.id,
                api_keys.c.is_admin,
                projects.c.id.label("project_id"),
                organizations.c.id.label("organization_id"),
                organizations.c.slug,
            )
            .join(projects, projects.c.id == api_keys.c.project_id)
            .join(organizations, organizations.c.id == projects.c.organization_id)
            .where(api_keys.c.hash == _hash(secret), api_keys.c.revoked_at.is_(None))
        ).first()
    return _identity(row) if row else None


def default_identity(store: "Store") -> Identity:
    """Return the identity of the default project, for in-process use and `--no-auth`."""
    with store.db.read() as connection:
        slug = connection.execute(
            select(organizations.c.slug).where(organizations.c.id == DEFAULT_ORGANIZATION)
        ).scalar_one()
    return Identity(
        key_id="key_local",
        organization_id=DEFAULT_ORGANIZATION,
        organization=slug,
        project_id=DEFAULT_PROJECT,
        is_admin=True,
    )


def list_keys(store: "Store") -> tuple[ApiKey, ...]:
    """Return every key, oldest first."""
    with store.db.read() as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at)).all()
    return tuple(_key(row) for row in rows)


def revoke_key(store: "Store", key_id: str) -> None:
    """End a key at once."""
    with store.db.write() as connection:
        changed = connection.execute(
            api_keys.update()
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=store.now())
        ).rowcount
    if not changed:
        raise NotFound(f"No active API key has the id {key_id!r}: see `selftune keys list`.")


def _identity(row: Row[*tuple[Any, ...]]) -> Identity:
    return Identity(
        key_id=row.id,
        organization_id=row.organization_id,
        organization=row.slug,
        project_id=row.project_id,
        is_admin=bool(row.is_admin),
    )


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    values = {name: value for name, value in row._mapping.items() if name != "hash"}
    return ApiKey.model_validate(values)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
