"""An inventory as one HTML page that needs nothing from anywhere."""

from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby, islice

from jinja2 import Environment
from markupsafe import Markup

from selftune.rescue.archive.format import KINDS, NAMES
from selftune.rescue.inventory import Inventory, counted, day_of, left

_STYLE = """
main { max-width: 76rem; } td.free { overflow-wrap: anywhere; }
.ends th { white-space: nowrap; } .ends td.soft, .ends td.free { min-width: 14rem; }
.ends td.days { font-weight: 600; white-space: nowrap; } .soon { color: var(--bad); }
.ends td.day { white-space: nowrap; } @media (min-width: 50rem) { .ends td.id { white-space: nowrap; } }
.later { color: var(--unsure); } td.number, th.number { text-align: right; padding-right: 1.6rem; }
td code { font-size: .87em; } details { margin: .8rem 0; } summary { cursor: pointer; font-weight: 600; }
"""
_MOST_DEADLINES = 4
_SOON_DAYS, _LATER_DAYS = 14, 60


def to_html(inventory: Inventory) -> str:
    """Return the page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(day=day_of, left=left, urgency=_urgency, size=size_text)
    page = files("selftune.rescue").joinpath("inventory.html.j2").read_text(encoding="utf-8")
    shared = files("selftune.evaluate").joinpath("templates", "report.css")
    kinds = [
        [thing for thing in inventory.things if thing.kind == kind]
        for kind in KINDS
        if kind != "model"
    ]
    return environment.from_string(page).render(
        inventory=inventory,
        deadlines=list(_deadlines(inventory)),
        kinds=[(counted(len(own), NAMES[own[0].kind]), own) for own in kinds if own],
        style=Markup(shared.read_text(encoding="utf-8") + _STYLE),  # files of this package
    )


def _deadlines(inventory: Inventory) -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
    """Yield the first days on which something ends: how far they are, and what ends and why."""
    ending = [group for group in inventory.groups if group.days_left is not None]
    by_day = groupby(ending, key=lambda group: (group.days_left or 0, str(group.ends_on)))
    for (days, day), groups in islice(by_day, _MOST_DEADLINES):
        by_reason: dict[str, list[str]] = {}
        for group in groups:
            by_reason.setdefault(group.why, []).append(counted(group.first, group.name))
        yield days, day, [(", ".join(what), why) for why, what in by_reason.items()]


def size_text(count: int | None) -> str:
    """Return bytes in words."""
    if count is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def _urgency(days: int | None) -> str:
    if days is None or days > _LATER_DAYS:
        return ""
    return "soon" if days <= _SOON_DAYS else "later"
