"""`selftune rescue verify`: whether an archive is still what was written."""

from typing import Annotated

import typer

from selftune.cli.console import FAILED, out, show_json, show_table
from selftune.cli.rescue.archive import Folder


def verify(
    folder: Folder, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Check every line, list and content of an archive; end with status 1 if anything differs."""
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.archive.verify import check

    found = check(folder)
    if json:
        show_json([each.model_dump() for each in found.problems])
    elif found.problems:
        rows = [(each.path, each.line or "", each.what) for each in found.problems]
        show_table(("where", "line", "what"), rows)
    else:
        is_complete = Archive.open(folder).manifest.is_complete
        rest = "" if is_complete else " The archive is not complete: run `selftune rescue archive`."
        out.print(
            f"{folder} is as it was written: {found.objects:,} objects and {found.contents:,} contents "
            f"were checked.{rest}",
            soft_wrap=True,
        )
    if found.problems:
        raise typer.Exit(FAILED)
