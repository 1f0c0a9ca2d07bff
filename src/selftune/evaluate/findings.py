"""What a report says: everything that its page, its table, its Markdown and its JSON show."""

from selftune.core.records import Record
from selftune.evaluate.compare import Comparison
from selftune.evaluate.curves import Guess, Histogram, Running
from selftune.evaluate.money import Money
from selftune.evaluate.rounds import Round
from selftune.evaluate.shown import Shown
from selftune.evaluate.summary import Summary


class ArmFindings(Record):
    """What was found of one model."""

    summary: Summary
    money: Money
    latency: Histogram | None
    guesses: tuple[Guess, ...]
    """Where a number was asked for; evenly chosen where there are very many."""
    running_error: tuple[Running, ...]
    worst: tuple[Shown, ...]
    """Questions that went worst; none of the baseline's, unless it is the only one."""


class Report(Record):
    """Everything that a report shows."""

    name: str
    """Of the eval."""
    round: Round
    questions: int
    arms: tuple[ArmFindings, ...]
    """The baseline first."""
    comparisons: tuple[Comparison, ...]
    """One for each further arm, in their order."""
    flipped: tuple[tuple[Shown, ...], ...]
    """For each comparison, questions that only one of the two passes."""
    requests_per_day: float | None
    """The volume that costs of a year are for."""
    notes: tuple[str, ...]
    """What to know before relying on it."""

    @property
    def baseline(self) -> str:
        """Return the name of what the others are compared with."""
        return self.arms[0].summary.name
