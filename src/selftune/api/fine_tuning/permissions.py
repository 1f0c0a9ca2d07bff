"""Share a checkpoint with other projects."""

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import (
    Storable,
    answer,
    body_of,
    context,
    identity,
    limit_of,
    run_in_threadpool,
)
from selftune.api.fine_tuning.wire import permissions_json
from selftune.api.routing import Router
from selftune.core.errors import NotFound
from selftune.core.records import Permission
from selftune.store.models import grant_permissions, list_permissions, revoke_permission

router = Router("/v1/fine_tuning/checkpoints")


class Grant(BaseModel):
    """Who may use it."""

    project_ids: list[Storable]


@router.post("/{name}/permissions")
async def create(request: Request, name: str) -> Response:
    """Let other projects use a checkpoint."""
    wanted = await body_of(request, Grant)
    granted = await run_in_threadpool(_grant, request, name, tuple(wanted.project_ids))
    return answer(permissions_json(granted, has_more=False))


@router.get("/{name}/permissions")
def listing(request: Request, name: str) -> Response:
    """Return who may use a checkpoint, newest first unless asked otherwise."""
    query = request.query_params
    found = _list(request, name)
    if query.get("order", "descending") == "descending":
        found = found[::-1]
    if query.get("project_id"):
        found = tuple(each for each in found if each.project_id == query["project_id"])
    after = [index for index, each in enumerate(found) if each.id == query.get("after")]
    found = found[after[0] + 1 :] if after else found
    limit = limit_of(request, 10, 100)
    return answer(permissions_json(found[:limit], has_more=len(found) > limit))


@router.delete("/{name}/permissions/{permission_id}")
def delete(request: Request, name: str, permission_id: str) -> Response:
    """End a permission."""
    parts = context(request)
    try:
        revoke_permission(parts.store, identity(request).project_id, name, permission_id)
    except NotFound:
        if not parts.is_spec_profile:
            raise
    return answer({"id": permission_id, "object": "checkpoint.permission", "deleted": True})


def _grant(request: Request, name: str, project_ids: tuple[str, ...]) -> tuple[Permission, ...]:
    parts = context(request)
    if not parts.is_spec_profile:
        return grant_permissions(parts.store, identity(request).project_id, name, project_ids)
    now = parts.store.now()
    return tuple(
        Permission(id=parts.store.ids.new("cp_"), model=name, project_id=each, created_at=now)
        for each in project_ids
    )


def _list(request: Request, name: str) -> tuple[Permission, ...]:
    parts = context(request)
    try:
        return list_permissions(parts.store, identity(request).project_id, name)
    except NotFound:
        if not parts.is_spec_profile:
            raise
        return ()
