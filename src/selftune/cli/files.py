"""`selftune files`: what was uploaded and produced."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from selftune.cli.console import open_home, out, show_json, show_table
from selftune.cli.elsewhere.asking import Profile
from selftune.core.errors import InvalidInput
from selftune.core.records import File
from selftune.store.blobs import CHUNK_BYTES
from selftune.store.files import delete_file, get_file, list_files, save_file

app = typer.Typer(help="Files.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The file's id, file-…")]


@app.command("add")
def add(
    path: Annotated[Path, typer.Argument(help="The file on this machine.")],
    purpose: Annotated[str, typer.Option(help="What it is for.")] = "fine-tune",
    profile: Profile = None,
) -> None:
    """Store a file; print its id."""
    if profile is not None:
        from selftune.cli.elsewhere import files

        return files.add(profile, path, purpose)
    store, identity = open_home()
    try:
        with path.open("rb") as source, store.blobs.writer() as writer:
            while chunk := source.read(CHUNK_BYTES):
                writer.write(chunk)
            blob = writer.commit()
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} is not there.") from error
    file = File(
        id=store.ids.new("file-"),
        project_id=identity.project_id,
        filename=path.name,
        purpose=purpose,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    save_file(store, file)
    return out.print(file.id)


@app.command("list")
def listing(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    profile: Profile = None,
) -> None:
    """List files, newest first."""
    if profile is not None:
        from selftune.cli.elsewhere import files

        return files.listing(profile, json=json)
    store, identity = open_home()
    found = list_files(store, identity.project_id).data
    if json:
        return show_json([file.model_dump(mode="json") for file in found])
    rows = [(file.id, file.purpose, file.bytes, file.filename) for file in found]
    return show_table(("id", "purpose", "bytes", "name"), rows)


@app.command("show")
def show(file_id: Id, profile: Profile = None) -> None:
    """Show one file's record."""
    if profile is not None:
        from selftune.cli.elsewhere import files

        return files.show(profile, file_id)
    store, identity = open_home()
    return show_json(get_file(store, identity.project_id, file_id).model_dump(mode="json"))


@app.command("content")
def content(file_id: Id, profile: Profile = None) -> None:
    """Write a file's bytes to standard output."""
    if profile is not None:
        from selftune.cli.elsewhere import files

        return files.content(profile, file_id)
    store, identity = open_home()
    file = get_file(store, identity.project_id, file_id)
    with store.blobs.open(file.sha256) as source:
        while chunk := source.read(CHUNK_BYTES):
            sys.stdout.buffer.write(chunk)
    return None


@app.command("delete")
def delete(file_id: Id, profile: Profile = None) -> None:
    """Delete a file."""
    if profile is not None:
        from selftune.cli.elsewhere import files

        return files.delete(profile, file_id)
    store, identity = open_home()
    delete_file(store, identity.project_id, file_id)
    return out.print(f"deleted {file_id}")
