"""What could not be taken over: said once for each reason, with how often and where first."""

from typing import Literal

from selftune.core.records import Record

Kind = Literal["row", "part", "note"]


class Gap(Record):
    """One reason."""

    kind: Kind
    """`row`: rows were left out. `part`: a part of the eval has no counterpart. `note`: something to
    know about what was taken over."""
    what: str
    count: int = 1
    first: str = ""
    """Where it was met first: file, and line or entry."""

    def __str__(self) -> str:
        """Return it as one line for people, whatever the files put into it."""
        return "".join(c if c.isprintable() else " " for c in self._line())

    def _line(self) -> str:
        place = f" (first: {self.first})" if self.count > 1 else f" ({self.first})"
        shown = place if self.first else ""
        if self.kind == "row":
            rows = "row" if self.count == 1 else "rows"
            return f"left out {self.count:,} {rows}: {self.what}{shown}"
        times = f", {self.count:,} times" if self.count > 1 else ""
        return f"{'not taken over' if self.kind == 'part' else 'note'}: {self.what}{times}{shown}"


class Gaps:
    """All reasons, in the order in which they were met."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str], Gap] = {}

    def row(self, why: str, place: str) -> None:
        """Say that a row was left out."""
        self._add("row", why, place)

    def part(self, what: str, place: str = "") -> None:
        """Say that a part of the eval has no counterpart here."""
        self._add("part", what, place)

    def note(self, what: str, place: str = "") -> None:
        """Say what one should know about what was taken over."""
        self._add("note", what, place)

    def told(self) -> tuple[Gap, ...]:
        """Return them."""
        return tuple(self._found.values())

    def _add(self, kind: Kind, what: str, place: str) -> None:
        known = self._found.get((kind, what))
        self._found[kind, what] = (
            Gap(kind=kind, what=what, first=place)
            if known is None
            else known.model_copy(update={"count": known.count + 1})
        )
