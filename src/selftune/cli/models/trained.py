"""List, show and delete models."""

from typing import Annotated

import typer

from selftune.cli.console import open_home, out, show_json, show_table
from selftune.cli.elsewhere.asking import Profile
from selftune.models.bases import is_here, listed
from selftune.models.catalog import Base
from selftune.models.chosen import catalog_of
from selftune.store.models import get_model, list_models

Name = Annotated[str, typer.Argument(help="The model's name, ft:…")]


def listing(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Bases that are not on this machine, too.")
    ] = False,
    profile: Profile = None,
) -> None:
    """List bases, other names for them, and your own models."""
    if profile is not None:
        from selftune.cli.elsewhere import models

        return models.listing(profile, json=json)
    store, identity = open_home()
    own = list_models(store, identity.project_id)
    if json:
        return show_json([model.model_dump(mode="json") for model in own])
    known = catalog_of(store.settings)
    used = {model.base for model in own}
    bases = known.base if all_ else listed(known, store.root, used)
    rows: list[tuple[object, ...]] = [
        (base.id, "base" if is_here(base, store.root) else "base, not fetched", _about(base))
        for base in bases
        if base.id in used or not base.for_tests
    ]
    rows += [(alias.id, f"stands for {alias.base}", "") for alias in known.alias]
    rows += [(model.id, f"trained from {model.base}", model.job_id or "") for model in own]
    return show_table(("name", "what", "about"), rows)


def _about(base: Base) -> str:
    size = f"{base.parameters / 1e9:.2g} billion weights, " if base.parameters else ""
    note = f". {base.note}" if base.note else ""
    return f"{size}{base.context:,} tokens, {base.license}{note}"


def show(name: Name, profile: Profile = None) -> None:
    """Show one model's record; of a base, what the catalogue says."""
    if profile is not None:
        from selftune.cli.elsewhere import models

        return models.show(profile, name)
    store, identity = open_home()
    base = catalog_of(store.settings).find(name)
    record = base or get_model(store, identity.project_id, name)
    return show_json(record.model_dump(mode="json"))


def where(name: Name) -> None:
    """Print the folder of a model or a base."""
    from selftune.models.bases import base_folder

    store, identity = open_home()
    base = catalog_of(store.settings).find(name)
    if base is not None:
        folder = base_folder(base, store.root)
    else:
        folder = store.root / str(get_model(store, identity.project_id, name).folder)
    out.print(str(folder), markup=False, soft_wrap=True)


def delete(name: Name, profile: Profile = None) -> None:
    """Delete a model and its folder."""
    if profile is not None:
        from selftune.cli.elsewhere import models

        return models.delete(profile, name)
    from selftune.train.leftovers import remove_model

    store, identity = open_home()
    remove_model(store, identity.project_id, name)
    return out.print(f"deleted {name}")
