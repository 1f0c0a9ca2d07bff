"""A description as one HTML page that needs nothing from anywhere."""

from importlib.resources import files
from pathlib import PurePath

from jinja2 import Environment

from selftune.data.describe import Description
from selftune.data.describing import bars

_SPREAD = ("least", "p5", "median", "mean", "p95", "p99", "most", "total")


def to_html(found: Description) -> str:
    """Return the page; every text of the data is escaped."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["number"] = lambda value: f"{value:,.0f}"
    template = files("selftune.data.describing").joinpath("templates/description.html.j2")
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(
        found=found,
        name=PurePath(found.source).name or "These rows",
        spread=_SPREAD,
        is_chat=all(one.role != "fields" for one in found.example.segments),
        has_unread=any(one.part == "unread" for one in found.example.segments),
        lengths=bars.histogram(found.histogram, "tokens"),
        trained=bars.histogram(found.trained_histogram, "learned tokens"),
    )
