"""List, read and delete models."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import answer, context, identity
from selftune.api.routing import Router
from selftune.api.spec_profile import is_placeholder_model
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Model
from selftune.models.bases import listed
from selftune.models.catalog import Alias, Base, Catalog
from selftune.models.chosen import catalog_of
from selftune.store.models import get_model, list_models, unknown_model
from selftune.train.leftovers import remove_model

router = Router("/v1/models")


@router.get("")
def listing(request: Request) -> Response:
    """Return bases, their other names, and the project's own models."""
    parts = context(request)
    own = list_models(parts.store, identity(request).project_id)
    known = _known(request)
    bases = tuple(base for base in known.base if base.source is None)
    if not parts.is_spec_profile:
        bases = listed(known, parts.store.root, (model.base for model in own))
    found = [base_json(base) for base in bases]
    found += [alias_json(alias) for alias in known.alias]
    tuned = {each.id: model_json(each, identity(request).organization_id) for each in own}
    found += tuned.values()
    stands = known.replacement
    found += [tuned[each.model] | {"id": each.id} for each in stands if each.model in tuned]
    return answer({"object": "list", "data": found})


@router.get("/{name:path}")
def retrieve(request: Request, name: str) -> Response:
    """Return one model."""
    return answer(_one(request, name))


@router.delete("/{name:path}")
def delete(request: Request, name: str) -> Response:
    """Delete a fine-tuned model, and its folder as soon as no other model stands on it."""
    store = context(request).store
    if _known(request).find(name) is not None and not is_placeholder_model(request, name):
        raise InvalidInput(
            f"The model '{name}' is a base model: only fine-tuned models can be deleted.",
            param="model",
        )
    try:
        remove_model(store, identity(request).project_id, name)
    except NotFound:
        if not is_placeholder_model(request, name):
            raise
    return answer({"id": name, "object": "model", "deleted": True})


def _known(request: Request) -> Catalog:
    return catalog_of(context(request).store.settings)


def _one(request: Request, name: str) -> dict[str, Any]:
    answering = _known(request).answering(name)
    found = _named(request, answering)
    return found if answering == name else found | {"id": name}


def _named(request: Request, name: str) -> dict[str, Any]:
    known = _known(request)
    alias = next((alias for alias in known.alias if alias.id == known.snapshot(name)), None)
    if alias is not None:
        return alias_json(alias) | {"id": name}
    base = known.find(name)
    if base is not None:
        return base_json(base)
    try:
        if not name.startswith("ft:"):
            raise unknown_model(name)
        model = get_model(context(request).store, identity(request).project_id, name)
    except NotFound:
        if not is_placeholder_model(request, name):
            raise
        return _json(name, 0, "selftune", None)
    return model_json(model, identity(request).organization_id)


def base_json(base: Base) -> dict[str, Any]:
    """Return a model object for a base."""
    return _json(base.id, base.created, base.owned_by, None)


def alias_json(alias: Alias) -> dict[str, Any]:
    """Return a model object for a name that stands for a base."""
    return _json(alias.id, alias.created, "selftune", alias.shutdown_date)


def model_json(model: Model, owner: str) -> dict[str, Any]:
    """Return a model object for a fine-tuned model."""
    return _json(model.id, model.created_at, owner, model.shutdown_date)


def _json(name: str, created: int, owner: str, ends: str | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": owner,
        "shutdown_date": ends,
    }
