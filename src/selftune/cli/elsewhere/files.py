"""`selftune files … --profile NAME`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selftune.cli.console import out, show_json, show_table
from selftune.cli.elsewhere.asking import as_written, ask, first
from selftune.core.errors import InvalidInput

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_PAGE = 1000


def add(name: str, path: Path, purpose: str) -> None:
    """Upload a file; print its id."""
    if not path.is_file():
        raise InvalidInput(f"{path} is not there.")

    async def question(client: "AsyncOpenAI") -> str:
        return (await client.files.create(file=path, purpose=purpose)).id  # type: ignore[arg-type]  # the provider says which purposes there are

    out.print(ask(name, question), markup=False)


def listing(name: str, *, json: bool) -> None:
    """List files, newest first."""

    async def question(client: "AsyncOpenAI") -> list[Any]:
        return await first(client.files.list(limit=_PAGE))

    found = ask(name, question)
    if json:
        return show_json(found)
    names = ("id", "purpose", "bytes", "filename")
    rows = [[file.get(name) for name in names] for file in found]
    return show_table(("id", "purpose", "bytes", "name"), rows)


def show(name: str, file_id: str) -> None:
    """Show one file's record."""

    async def question(client: "AsyncOpenAI") -> Any:
        return as_written(await client.files.retrieve(file_id))

    show_json(ask(name, question))


def content(name: str, file_id: str) -> None:
    """Write a file's bytes to standard output; a result file's as the text that it is."""
    from selftune.train.remote.files import content_of

    sys.stdout.buffer.write(ask(name, lambda client: content_of(client, file_id)))


def delete(name: str, file_id: str) -> None:
    """Delete a file."""

    async def question(client: "AsyncOpenAI") -> str:
        return (await client.files.delete(file_id)).id

    out.print(f"deleted {ask(name, question)}", markup=False)
