"""`selftune rescue inventory`: what an account has, and what of it ends when."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import err, fail, out, show_json, show_table
from selftune.cli.rescue.archive import ProfileName

if TYPE_CHECKING:
    from selftune.rescue.inventory import Group, Inventory, Thing


def inventory(
    profile: ProfileName = "openai",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every thing.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page, with every thing.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List every thing, not only models.")
    ] = False,
) -> None:
    """Show what an account has, and what of it ends when; the first to end comes first.

    Dates are what the provider says of each model, else those of OpenAI's deprecations page. Nothing
    is changed and nothing is downloaded. This was tried against a server that plays OpenAI, not
    against the real service.
    """
    from datetime import UTC, datetime

    from selftune.core.settings import load_settings
    from selftune.models.profiles import find_profile, open_client
    from selftune.rescue.archive.download import RETRIES
    from selftune.rescue.archive.format import source_of
    from selftune.rescue.inventory import take_stock
    from selftune.rescue.inventory_asking import look_around

    account = find_profile(load_settings().root, profile)
    with err.status("asking"):
        found = look_around(open_client(account, retries=RETRIES))
    taken = take_stock(found, source_of(account), datetime.now(UTC).date())
    if json:
        show_json(taken.model_dump(mode="json"))
    else:
        _show(taken, every=every)
    if html is not None:  # last: it took a while to find out, and may not be writable
        _write(html, taken)
    if not found.is_whole:
        fail("not all lists could be read: run it again.")


def _write(path: Path, taken: "Inventory") -> None:
    from selftune.core.errors import InvalidInput
    from selftune.rescue.inventory_page import to_html

    try:
        path.write_text(to_html(taken), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.") from error
    err.print(f"wrote {path}", soft_wrap=True, markup=False)


def _show(taken: "Inventory", *, every: bool) -> None:
    from selftune.rescue.inventory_page import size_text

    columns: tuple[str, ...] = ("days left", "ends", "what", "count", "size", "why")
    groups, said = [], ""
    for one in taken.groups:
        why, said = "" if one.why == said else one.why, one.why  # each reason once
        groups.append((one.name, f"{one.count:,}", size_text(one.bytes), why))
    _table(columns, taken.groups, groups)
    if taken.models:
        models = [
            (_lines(one.id, one.used[0] if one.used else "no trace", *one.problems),)
            for one in taken.models
        ]
        _table(
            ("days left", "ends", "model, where it was last seen, what is missing"),
            taken.models,
            models,
        )
    if every:
        things = [(one.kind, _lines(one.id, one.name, *one.used[:1])) for one in taken.things]
        _table(("days left", "ends", "kind", "id, name, what names it"), taken.things, things)
    for thing, said in taken.problems:
        if thing.kind != "model":
            out.print(f"{thing.id}: {said}", soft_wrap=True, markup=False)
    for note in taken.notes:
        out.print(note, soft_wrap=True, markup=False, style="dim")


def _lines(name: str, *known: str) -> str:
    """Return a name, which is copied and so has a line of its own, and below it what is known."""
    return "\n".join([name, *filter(None, known)])


def _table(
    columns: Sequence[str], ends: "Sequence[Thing | Group]", rows: Sequence[tuple[str, ...]]
) -> None:
    """Print a table whose rows begin with when things end."""
    from selftune.rescue.inventory import left

    show_table(
        columns,
        [
            (left(end.days_left), end.ends_on or "", *row)
            for end, row in zip(ends, rows, strict=True)
        ],
    )
    out.print()
