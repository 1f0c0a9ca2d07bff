"""Say which bases there are and what names stand for, in the home folder's `catalog.toml`."""

from typing import Annotated

import typer

from selftune.cli.console import out
from selftune.core.settings import load_settings

Id = Annotated[str, typer.Argument(help="The base's id.")]


def add(
    name: Id,
    source: Annotated[
        str | None,
        typer.Option(help="Folder of the model, or its repository (owner/name) of the hub."),
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=8, help="Tokens of a prompt; absent, its configuration's.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the repository.")] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Its licence.")] = None,
    server: Annotated[
        str | None, typer.Option(help="Address of a server that answers for it, such as vLLM's.")
    ] = None,
) -> None:
    """Add a base, or change what the catalogue says of one."""
    from selftune.models.own_catalog import add_base

    base = add_base(
        load_settings().root,
        {
            "id": name,
            "source": source,
            "context": context,
            "revision": revision,
            "license": license_,
            "server": server,
        },
    )
    what = f", from {base.source}" if base.source else ""
    out.print(f"{base.id}: {base.context:,} tokens{what}", markup=False, soft_wrap=True)


def alias(
    name: Annotated[str, typer.Argument(help="The name that programs use.")],
    base: Annotated[str, typer.Argument(help="The base that it stands for.")],
) -> None:
    """Let a name, such as gpt-4o-mini-2024-07-18, stand for a base.

    A model that was tuned here may answer to the name of one that was tuned elsewhere (ft:…, or
    Azure's ….ft-…), or of a deployment at Azure.
    """
    from selftune.models.catalog import catalog
    from selftune.models.listed import is_tuned
    from selftune.models.own_catalog import set_alias, set_replacement

    root = load_settings().root
    if is_tuned(name) or is_tuned(base):
        set_replacement(root, name, base)
        out.print(f"{name} is answered by {base}", markup=False, soft_wrap=True)
        return
    set_alias(root, name, base)
    found = catalog(root).find(name)
    assert found is not None
    out.print(f"{name} stands for {found.id}", markup=False, soft_wrap=True)


def remove(
    name: Annotated[str, typer.Argument(help="A base or a name that you added.")],
) -> None:
    """Take a base or a name out of the home folder's own catalogue; weights stay."""
    from selftune.models.own_catalog import remove as take_out

    take_out(load_settings().root, name)
    out.print(f"removed {name}", markup=False, soft_wrap=True)


def pull(name: Id) -> None:
    """Fetch a base's weights, tokenizer and configuration from the Hugging Face hub."""
    from selftune.core.errors import NotFound
    from selftune.models.bases import base_folder
    from selftune.models.chosen import catalog_of
    from selftune.models.own_catalog import learn_context

    settings = load_settings()
    base = catalog_of(settings).find(name)
    if base is None:
        raise NotFound(f"{name!r} is no base: `selftune models list --all` names them.")
    folder = base_folder(base, settings.root, download=True)
    learn_context(settings.root, base, folder)
    out.print(str(folder), markup=False, soft_wrap=True)
