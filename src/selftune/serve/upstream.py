"""Which models are this server's own, where an account upstream answers for all others.

The names of OpenAI's models are aliases of bases here. Where there is an upstream, they are its models,
unless the home's own catalogue says what they stand for. The name of a model that was trained elsewhere
is never here by an alias alone: a switch decides.
"""

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Identity
from selftune.core.settings import Settings
from selftune.models.chosen import catalog_of
from selftune.models.endpoint import Endpoint
from selftune.models.listed import is_tuned
from selftune.models.profiles import find_profile
from selftune.models.switches import load_switches
from selftune.store.models import get_model
from selftune.store.store import Store


def is_base(settings: Settings, model: str) -> bool:
    """Return whether a name is that of a base here, or one that this home gave to a base."""
    if is_tuned(model):
        return False
    found = catalog_of(settings)
    if any(base.id == model for base in found.base):
        return True
    name = found.snapshot(model)
    return any(alias.id == name and alias.is_own for alias in found.alias)


def was_tuned_here(store: Store, project_id: str, model: str) -> bool:
    """Return whether a model was trained by a job of this server."""
    if not is_tuned(model):
        return False
    try:
        get_model(store, project_id, model)
    except NotFound:
        return False
    return True


def upstream_endpoint(store: Store, caller: Identity, model: str) -> Endpoint | None:
    """Return the account upstream as what answers for a model; None where this server does.

    Evals ask so. A canary's share is of callers, and an eval is none: the account is asked until the
    switch says that the replacement answers.

    Raises:
        InvalidInput: the switches or the account's profile cannot be read; said as callers may read it.

    """
    name = store.settings.upstream
    if not name or is_base(store.settings, model):
        return None
    try:
        if _is_here(store, caller, model):
            return None
        return Endpoint(model=model, profile=find_profile(store.root, name))
    except (InvalidInput, NotFound) as error:
        raise InvalidInput(store.told(error.message)) from error


def _is_here(store: Store, caller: Identity, model: str) -> bool:
    switch = load_switches(store.root).current().get(model)
    if switch is None:
        return was_tuned_here(store, caller.project_id, model)
    return switch.to == "replacement"
