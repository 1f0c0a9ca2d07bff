"""A model's name -> what to load."""

from selftune.core.records import Identity, Record
from selftune.models.catalog import catalog
from selftune.store.models import get_model, unknown_model
from selftune.store.store import Store


class Served(Record):
    """What to load for a name."""

    engine: str
    folder: str | None
    """Relative to the home folder; None for a base."""


def resolve(store: Store, identity: Identity, name: str) -> Served:
    """Return what serves a base's name, one of its aliases, or a fine-tuned model.

    Raises:
        NotFound: in OpenAI's words.

    """
    base = catalog().find(name)
    if base is not None:
        return Served(engine=base.engine, folder=None)
    if not name.startswith("ft:"):
        raise unknown_model(name)
    model = get_model(store, identity.project_id, name)
    return Served(engine=model.engine, folder=model.folder)
