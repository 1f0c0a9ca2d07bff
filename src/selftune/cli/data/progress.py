"""A bar that shows how much of a source was read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from selftune.cli.console import err


@contextmanager
def shown_progress() -> Iterator[Callable[[int, int | None], None]]:
    """Give what shows how much was read and of how much, on a terminal only."""
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
