"""A model's name -> what to load."""

from selftune.core.records import Identity, Record
from selftune.models.bases import base_folder
from selftune.models.chosen import catalog_of
from selftune.store.models import get_model, unknown_model
from selftune.store.store import Store


class Served(Record):
    """What to load for a name."""

    engine: str
    folder: str | None
    """Relative to the home folder; absolute for an open base, None for an embedded one."""


def resolve(store: Store, identity: Identity, name: str) -> Served:
    """Return what serves a base's name, one of its aliases, or a fine-tuned model.

    Raises:
        NotFound: in OpenAI's words.
        InvalidInput: it is an open base that is not on this machine; says what to do.

    """
    base = catalog_of(store.settings).find(name)
    if base is not None:
        is_folder = base.source is not None and base.server is None
        folder = str(base_folder(base, store.root)) if is_folder else None
        return Served(engine=base.engine, folder=folder)
    if not name.startswith("ft:"):
        raise unknown_model(name)
    model = get_model(store, identity.project_id, name)
    return Served(engine=model.engine, folder=model.folder)
