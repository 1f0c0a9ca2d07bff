"""What a run of an eval is given, and what it tells on its way."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from selftune.evaluate.arms import Arm, Open
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.items import Item
from selftune.evaluate.means import Embed, no_vectors
from selftune.evaluate.rounds import Totals
from selftune.models.endpoint import Endpoint
from selftune.models.prices import Rates

GIVEN = "given"
"""Name of the arm whose answers the data has."""
RatesOf = Callable[[str, Endpoint | None], Rates | None]


@dataclass(frozen=True)
class Task:
    """What to ask of whom, and how to judge."""

    items: Callable[[], Iterable[Item]]
    """Yields the items, in their order."""
    arms: tuple[Arm, ...]
    """Empty: every item has its answer."""
    graders: tuple[dict[str, Any], ...]
    total: int | None = None
    """How many items there are, for a progress bar."""
    samples: int = 1
    seed: int | None = None
    limits: Limits = field(default_factory=Limits)
    salt: str = ""
    """Set it to ask graders' models anew what they were asked before."""

    @property
    def calls(self) -> int | None:
        """Return how many results there will be; None where the items were not counted."""
        if self.total is None or not self.arms:
            return self.total
        return self.total * len(self.arms) * self.samples


@dataclass(frozen=True)
class Backing:
    """What a run stands on."""

    open: Open
    """Opens a model."""
    place: Callable[[str], Endpoint | None]
    """Says where a grader's model answers; None is this machine."""
    rates_of: RatesOf = lambda model, endpoint: None
    embed: Embed = no_vectors


class Progress(NamedTuple):
    """How far a run is."""

    done: int
    total: int | None
    """None is unknown."""
    seconds_left: float | None
    totals: Totals
    """Since the start of this run."""
