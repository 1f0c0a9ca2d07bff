"""`selftune models`: bases, and what was trained from them."""

import shutil
from typing import Annotated

import typer

from selftune.cli.console import open_home, out, show_json, show_table
from selftune.models.catalog import catalog
from selftune.store.models import delete_model, get_model, list_models

app = typer.Typer(help="Models.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The model's name, ft:…")]


@app.command("list")
def listing(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List bases, other names for them, and your own models."""
    store, identity = open_home()
    own = list_models(store, identity.project_id)
    if json:
        return show_json([model.model_dump(mode="json") for model in own])
    rows: list[tuple[object, ...]] = [
        (base.id, "base", "") for base in catalog().listed(model.base for model in own)
    ]
    rows += [(alias.id, f"stands for {alias.base}", "") for alias in catalog().alias]
    rows += [(model.id, f"trained from {model.base}", model.job_id or "") for model in own]
    return show_table(("name", "what", "job"), rows)


@app.command("show")
def show(name: Name) -> None:
    """Show one model's record."""
    store, identity = open_home()
    show_json(get_model(store, identity.project_id, name).model_dump(mode="json"))


@app.command("where")
def where(name: Name) -> None:
    """Print the folder of a model."""
    store, identity = open_home()
    out.print(str(store.root / str(get_model(store, identity.project_id, name).folder)))


@app.command("delete")
def delete(name: Name) -> None:
    """Delete a model and its folder."""
    store, identity = open_home()
    model = delete_model(store, identity.project_id, name)
    shutil.rmtree(store.root / str(model.folder), ignore_errors=True)
    out.print(f"deleted {name}")
