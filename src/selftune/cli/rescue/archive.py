"""`selftune rescue archive`: bring everything that an account has into one folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import FAILED, err, out, show_table

if TYPE_CHECKING:
    from selftune.rescue.archive.download import Progress
    from selftune.rescue.archive.format import Entry, Manifest, Source

_MOST_SHOWN = 20
"""Lists that could not be read."""
Folder = Annotated[Path, typer.Argument(help="Folder of the archive; new, empty, or begun.")]
ProfileName = Annotated[str, typer.Option("--profile", help="Whose account: see `profiles.toml`.")]


def archive(folder: Folder, profile: ProfileName = "openai") -> None:
    """Bring everything that an account has into one folder, evals first; or go on with it.

    What is there already is not asked for again, so run it as often as you like: after a failure,
    after a kill, and on the last day. It ends with status 0 when all that the account lists is
    there, or is noted as deleted or forbidden, and with 1 when something is missing.

    The provider's answers are kept as they come. This was tried against a server that plays OpenAI,
    not against the real service.
    """
    from selftune.core.settings import load_settings
    from selftune.models.profiles import find_profile, open_client
    from selftune.rescue.archive.download import RETRIES, archive_account
    from selftune.rescue.archive.format import source_of

    account = find_profile(load_settings().root, profile)
    source = source_of(account)
    client = open_client(account, retries=RETRIES)
    try:
        with _shown() as tell:
            manifest = archive_account(client, folder, source, tell)
    except KeyboardInterrupt:
        err.print(f"{folder} has what came until now: the same command goes on.", markup=False)
        raise
    _show(folder, manifest, source)


@contextmanager
def _shown() -> Iterator[Callable[["Progress"], None]]:
    """Give what shows how far it is: a live line on a terminal, elsewhere a line for each stage."""
    stages: list[str] = []
    with err.status("asking") as status:  # shows nothing where there is no terminal

        def tell(progress: "Progress") -> None:
            status.update(_line(progress))
            if progress.stage not in stages:
                stages.append(progress.stage)
                if not err.is_terminal:
                    err.print(_line(progress), soft_wrap=True)

        yield tell


def _line(progress: "Progress") -> str:
    from selftune.rescue.archive.format import NAMES

    counts = [
        f"{sum(states.values()):,} {NAMES[kind]}"
        for kind, states in progress.counts.items()
        if kind in NAMES and kind != "list"
    ]
    size = f"{progress.bytes / 1e6:,.1f} MB" if progress.bytes else ""
    return f"{progress.stage}: " + (", ".join([*counts, size] if size else counts) or "nothing yet")


def _show(folder: Path, manifest: "Manifest", source: "Source") -> None:
    """Print what is there; leave with a status that says whether it is all."""
    from selftune.rescue.archive.format import KINDS, NAMES, STATES
    from selftune.rescue.archive.reader import Archive

    rows = [
        (NAMES[kind], *(f"{manifest.counts[kind].get(state, 0):,}" for state in STATES))
        for kind in KINDS
        if kind in manifest.counts
    ]
    show_table(("", *STATES), rows)
    lists = [each for each in Archive(folder, manifest).list("list") if _is_worth_saying(each)]
    for each in lists[:_MOST_SHOWN]:
        where = f" of {each.parent}" if each.parent else ""
        name = NAMES[each.object["kind"]]
        state = "there is no such list" if each.state == "deleted" else each.state
        err.print(f"{name}{where}: {state}, {each.reason}", soft_wrap=True, markup=False)
    if manifest.is_complete:
        out.print(f"{folder} has all that {source.base_url} lists.", soft_wrap=True)
        return
    err.print(
        f"[bold red]not complete:[/] run it again to ask for what is missing in {folder}.",
        soft_wrap=True,
    )
    raise typer.Exit(FAILED)


def _is_worth_saying(noted: "Entry") -> bool:
    """Return whether a list was not read though it should be there."""
    return noted.state in ("forbidden", "failed") or (
        noted.state == "deleted" and noted.parent is None
    )
