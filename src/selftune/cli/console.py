"""What every command shares: the store, the caller, tables, and errors without a traceback."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.markup import escape

from selftune.core.errors import InvalidInput, NotFound, SelftuneError

if TYPE_CHECKING:
    from rich.text import Text

    from selftune.core.records import Identity
    from selftune.store.store import Store

FAILED, MISUSED, STOPPED = 1, 2, 130
_PIPED_WIDTH = 200
_KEPT = frozenset(map(ord, "\t\n"))
_OBEYED = dict.fromkeys({*range(32), *range(127, 160)} - _KEPT, "\N{REPLACEMENT CHARACTER}")
"""Control characters, and what is shown in their place: names may hold any."""


class _Console(Console):
    """A console that sends a terminal no text which it would obey."""

    def render_str(self, text: str, **how: Any) -> "Text":
        return super().render_str(text.translate(_OBEYED), **how)


out = _Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = _Console(stderr=True, highlight=False, emoji=False)


def open_home() -> "tuple[Store, Identity]":
    """Return the store of the home folder, and its default project's identity."""
    from selftune.core.settings import load_settings
    from selftune.store.accounts import default_identity
    from selftune.store.store import open_store

    store = open_store(load_settings())
    return store, default_identity(store)


def guarded(command: Callable[[], None]) -> None:
    """Run a program; show what went wrong in one line, and leave with a status that says so."""
    try:
        command()
    except SelftuneError as error:
        err.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True)
        sys.exit(MISUSED if isinstance(error, InvalidInput | NotFound) else FAILED)


def show_json(value: Any) -> None:
    """Print JSON for programs."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table for people."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # ids are copied
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    out.print(table if rows else "[dim]none[/]")


def fail(message: str) -> NoReturn:
    """Leave with a message."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(FAILED)
