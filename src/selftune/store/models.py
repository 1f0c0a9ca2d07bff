"""Models that jobs produced. A project sees its own, and checkpoints that were shared with it."""

from sqlalchemy import ColumnElement, Connection, Select, delete, select

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Model, Permission
from selftune.store.schema import checkpoints, models, permissions, projects
from selftune.store.store import Store

_COLUMNS = [column for column in models.c if column.name not in ("position", "is_checkpoint")]


def insert_model(connection: Connection, model: Model, *, is_checkpoint: bool) -> None:
    """Store a model in a transaction of the caller's; a repeat changes nothing."""
    known = connection.execute(select(models.c.id).where(models.c.id == model.id)).first()
    if known is None:
        values = model.model_dump() | {"is_checkpoint": int(is_checkpoint)}
        connection.execute(models.insert().values(values))


def get_model(store: Store, project_id: str, model_id: str) -> Model:
    """Return one model that the project may use.

    Raises:
        NotFound: in OpenAI's words, with the backticks that programs match on.

    """
    with store.db.read() as connection:
        row = connection.execute(
            select(*_COLUMNS).where(models.c.id == model_id, _visible(project_id))
        ).first()
    if row is None:
        raise unknown_model(model_id)
    return Model.model_validate(dict(row._mapping))


def folders_in_use(store: Store) -> set[str]:
    """Return every folder that a model or a servable checkpoint refers to."""
    servable = select(checkpoints.c.folder).where(checkpoints.c.servable == 1)
    with store.db.read() as connection:
        of_models = connection.execute(select(models.c.folder)).scalars()
        return set(of_models) | set(connection.execute(servable).scalars())


def unknown_model(model_id: str) -> NotFound:
    """Return the error for a model that is not there, or not for this project."""
    return NotFound(
        f"The model `{model_id}` does not exist or you do not have access to it.",
        code="model_not_found",
    )


def list_models(store: Store, project_id: str) -> tuple[Model, ...]:
    """Return the finished models of a project and those shared with it, oldest first."""
    query = select(*_COLUMNS).where(_visible(project_id))
    shared = models.c.id.in_(_shared_with(project_id))
    query = query.where((models.c.is_checkpoint == 0) | shared).order_by(models.c.position)
    with store.db.read() as connection:
        rows = connection.execute(query).all()
    return tuple(Model.model_validate(dict(row._mapping)) for row in rows)


def delete_model(store: Store, project_id: str, model_id: str) -> Model:
    """Remove a model's record and permissions; return it, so that its folder can be removed."""
    with store.db.write() as connection:
        row = connection.execute(
            select(*_COLUMNS).where(models.c.id == model_id, models.c.project_id == project_id)
        ).first()
        if row is None:
            raise NotFound(
                f"The model '{model_id}' does not exist", param="model", code="model_not_found"
            )
        connection.execute(delete(permissions).where(permissions.c.model == model_id))
        connection.execute(delete(models).where(models.c.id == model_id))
        connection.execute(
            checkpoints.update().where(checkpoints.c.model == model_id).values(servable=0)
        )
    return Model.model_validate(dict(row._mapping))


def grant_permissions(
    store: Store, project_id: str, model_id: str, project_ids: tuple[str, ...]
) -> tuple[Permission, ...]:
    """Let other projects use a checkpoint; a repeat returns what stands."""
    _require_owned(store, project_id, model_id)
    granted = []
    with store.db.write() as connection:
        for other in project_ids:
            if connection.execute(select(projects).where(projects.c.id == other)).first() is None:
                raise InvalidInput(f"No such project: {other!r}.", param="project_ids")
            row = connection.execute(
                select(permissions).where(
                    permissions.c.model == model_id, permissions.c.project_id == other
                )
            ).first()
            if row is None:
                permission = Permission(
                    id=store.ids.new("cp_"),
                    model=model_id,
                    project_id=other,
                    created_at=store.now(),
                )
                connection.execute(permissions.insert().values(permission.model_dump()))
            else:
                permission = _permission(dict(row._mapping))
            granted.append(permission)
    return tuple(granted)


def list_permissions(store: Store, project_id: str, model_id: str) -> tuple[Permission, ...]:
    """Return who may use a checkpoint, oldest first."""
    _require_owned(store, project_id, model_id)
    with store.db.read() as connection:
        rows = connection.execute(
            select(permissions)
            .where(permissions.c.model == model_id)
            .order_by(permissions.c.position)
        ).all()
    return tuple(_permission(dict(row._mapping)) for row in rows)


def revoke_permission(store: Store, project_id: str, model_id: str, permission_id: str) -> None:
    """End a permission."""
    _require_owned(store, project_id, model_id)
    with store.db.write() as connection:
        removed = connection.execute(
            delete(permissions).where(
                permissions.c.id == permission_id, permissions.c.model == model_id
            )
        ).rowcount
    if not removed:
        raise NotFound(f"No such permission: {permission_id}", param="permission_id")


def _require_owned(store: Store, project_id: str, model_id: str) -> None:
    """Only the project that trained a model says who else may use it."""
    if get_model(store, project_id, model_id).project_id != project_id:
        raise unknown_model(model_id)


def _permission(values: dict[str, object]) -> Permission:
    values.pop("position")
    return Permission.model_validate(values)


def _shared_with(project_id: str) -> Select[tuple[str]]:
    return select(permissions.c.model).where(permissions.c.project_id == project_id)


def _visible(project_id: str) -> ColumnElement[bool]:
    return (models.c.project_id == project_id) | models.c.id.in_(_shared_with(project_id))
