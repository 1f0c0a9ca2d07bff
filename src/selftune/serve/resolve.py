"""A model's name -> what to load."""

from selftune.core.records import Identity, Record
from selftune.models.bases import base_folder
from selftune.models.chosen import catalog_of
from selftune.serve.remote.serving import engine_at
from selftune.store.models import get_model, unknown_model
from selftune.store.store import Store


class Served(Record):
    """What to load for a name."""

    engine: str
    """A sampler, or the address of the server that answers, as `serve/remote` reads it."""
    folder: str | None
    """Relative to the home folder; absolute for an open base, None for an embedded one."""


def resolve(store: Store, identity: Identity, name: str) -> Served:
    """Return what serves a base's name, one of its aliases, or a fine-tuned model.

    A model that was tuned elsewhere is served by its replacement.

    Raises:
        NotFound: in OpenAI's words.
        InvalidInput: it is an open base that is not on this machine; says what to do.

    """
    bases = catalog_of(store.settings)
    name = bases.answering(name)
    base = bases.find(name)
    if base is not None:
        if base.server is not None:
            return Served(engine=engine_at(base.server), folder=None)
        folder = str(base_folder(base, store.root)) if base.source is not None else None
        return Served(engine=base.engine, folder=folder)
    if not name.startswith("ft:"):
        raise unknown_model(name)
    model = get_model(store, identity.project_id, name)
    root = bases.find(model.base)
    if root is not None and root.server is not None:
        return Served(engine=engine_at(root.server, model.id), folder=model.folder)
    return Served(engine=model.engine, folder=model.folder)
