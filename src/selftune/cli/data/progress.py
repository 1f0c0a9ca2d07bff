"""How much of a source was read, while it is read; on standard error, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selftune.cli.console import err


@contextmanager
def shown_bytes() -> Iterator[Callable[[int, int | None], None]]:
    """Give what shows how many bytes were read, and of how many."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
        auto_refresh=False,  # else a thread draws it, and processes with threads cannot be forked
    )
    task = bars.add_task("reading", total=None)
    with bars:
        yield lambda read, size: bars.update(task, completed=read, total=size, refresh=True)


@contextmanager
def shown_rows() -> Iterator[Callable[[int], None]]:
    """Give what shows how many rows were read."""
    with err.status("reading") as status:  # shows nothing where there is no terminal
        yield lambda rows: status.update(f"{rows:,} rows")
