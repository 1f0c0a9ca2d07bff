"""What commands that ask for hours share: their pace, their budget, and how they end early."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import STOPPED, err
from selftune.core.errors import BudgetSpent, InvalidInput, SelftuneError

if TYPE_CHECKING:
    from selftune.evaluate.evalfile import Limits

STOPPED_EARLY = 3
"""Exit status of what is not whole yet."""


@dataclass(frozen=True)
class PaceOptions:
    """How fast, and for how much."""

    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="Most requests on their way.")
    ] = 8
    budget_dollars: Annotated[
        float | None, typer.Option(min=0.000001, help="Stop before more is spent.")
    ] = None

    def limits(self, spent: float = 0.0) -> "Limits":
        """Return the limits of what comes next.

        Raises:
            BudgetSpent: nothing is left.

        """
        from selftune.evaluate.evalfile import Limits

        left = None if self.budget_dollars is None else self.budget_dollars - spent
        if left is not None and left <= 0:
            raise BudgetSpent("The budget is spent. The same command again goes on.")
        return Limits(concurrency=self.concurrency, budget_dollars=left)


@contextmanager
def stopping(misuse: tuple[type[SelftuneError], ...] = (InvalidInput,)) -> Iterator[None]:
    """Leave with a status of its own where a command does not come to its end.

    Misuse, which the same command again would not mend, is told as ever.
    """
    try:
        yield
    except misuse:
        raise
    except SelftuneError as error:
        err.print(f"[yellow]stopped:[/] {escape(error.message)}", soft_wrap=True)
        raise typer.Exit(STOPPED_EARLY) from None
    except OSError as error:  # the disk may be full
        words = f"{error.strerror or error}. Mend it: the same command goes on from here"
        err.print(f"[yellow]stopped:[/] {escape(words)}", soft_wrap=True)
        raise typer.Exit(STOPPED_EARLY) from None
    except KeyboardInterrupt:
        err.print("[yellow]stopped:[/] the same command goes on from here", soft_wrap=True)
        raise typer.Exit(STOPPED) from None
