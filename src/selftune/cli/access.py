"""`selftune keys` and `selftune webhooks`."""

from typing import Annotated

import typer

from selftune.cli.console import open_home, out, show_table
from selftune.store.accounts import create_key, create_project, list_keys, revoke_key
from selftune.store.webhooks import add_endpoint, list_endpoints, remove_endpoint

keys = typer.Typer(help="API keys.", no_args_is_help=True)
webhooks = typer.Typer(help="Where events are sent.", no_args_is_help=True)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    project: Annotated[str, typer.Option(help="Project; made if it is not there.")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="May manage permissions.")] = False,
) -> None:
    """Make a key and print it, once."""
    store, _ = open_home()
    _, secret = create_key(
        store, name, project_id=create_project(store, project).id, is_admin=admin
    )
    out.print(secret)


@keys.command("list")
def list_all() -> None:
    """List keys; never the secrets."""
    store, _ = open_home()
    rows = [
        (key.id, key.hint, key.name, key.project_id, "revoked" if key.revoked_at else "active")
        for key in list_keys(store)
    ]
    show_table(("id", "key", "name", "project", "state"), rows)


@keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, key_…")]) -> None:
    """End a key."""
    store, _ = open_home()
    revoke_key(store, key_id)
    out.print(f"revoked {key_id}")


@webhooks.command("add")
def add(url: Annotated[str, typer.Argument(help="http or https address.")]) -> None:
    """Send the project's events to an address; prints the signing secret, once."""
    store, identity = open_home()
    endpoint = add_endpoint(store, identity.project_id, url)
    out.print(f"{endpoint.id} {endpoint.secret}", soft_wrap=True)


@webhooks.command("list")
def list_endpoints_of() -> None:
    """List endpoints."""
    store, identity = open_home()
    found = list_endpoints(store, identity.project_id)
    show_table(("id", "url"), [(endpoint.id, endpoint.url) for endpoint in found])


@webhooks.command("remove")
def remove(endpoint_id: Annotated[str, typer.Argument(help="The endpoint's id, wh_…")]) -> None:
    """Forget an endpoint."""
    store, identity = open_home()
    remove_endpoint(store, identity.project_id, endpoint_id)
    out.print(f"removed {endpoint_id}")
