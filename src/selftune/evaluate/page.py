"""A report as one HTML page that needs nothing from anywhere: no script, no font, no picture."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from selftune.evaluate import plots
from selftune.evaluate.confusion import MOST_IN_MATRIX
from selftune.evaluate.figures import figures, seconds_text
from selftune.evaluate.findings import Report

_MOST_CATEGORIES = 24
_MOST_MATRICES = 3
_MOST_SCATTERS = 6


class Plot(NamedTuple):
    """One figure of the page."""

    caption: str
    svg: Markup
    is_wide: bool = False
    """It needs the whole width, and more on a phone."""


def to_html(report: Report, lead: Markup | None = None) -> str:
    """Return the page; `lead` is what stands before all figures, already escaped."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["seconds"] = seconds_text
    folder = files("selftune.evaluate").joinpath("templates")
    page = environment.from_string(folder.joinpath("report.html.j2").read_text(encoding="utf-8"))
    style = folder.joinpath("report.css").read_text(encoding="utf-8")
    day = datetime.fromtimestamp(report.round.created_at, UTC)
    return page.render(
        report=report,
        lead=lead,
        style=Markup(style),  # a file of this package
        names=[arm.summary.name for arm in report.arms],
        figures=figures(report),
        plots=list(_plots(report)),
        confused=list(_confused(report)),
        day=f"{day:%-d %B %Y, %H:%M} UTC",
    )


def _plots(report: Report) -> Iterator[Plot]:
    arms = list(enumerate(report.arms))
    bars = [
        plots.Bar(arm.summary.name, arm.summary.accuracy, number)
        for number, arm in arms
        if arm.summary.accuracy is not None
    ]
    if bars:
        title = "Accuracy, with 95 % intervals"
        yield Plot(title, Markup(plots.shares(bars, title)))
    yield from _cost_plot(report)
    yield from _category_plot(report)
    yield from _number_plots(report)
    rows = [
        (arm.summary.name, arm.summary.latency, arm.latency, number)
        for number, arm in arms
        if arm.summary.latency is not None and arm.latency is not None
    ]
    if rows:
        title = "Time of an answer, queueing apart"
        yield Plot(title, Markup(plots.latencies(rows, title)))
    if len(report.round.losses) > 1:
        title = "Training loss"
        drawn = plots.line(report.round.losses, title, ("step", "loss"))
        yield Plot(title, Markup(drawn))
    yield from _matrices(report)


def _cost_plot(report: Report) -> Iterator[Plot]:
    points = [
        (arm.summary.name, arm.money.per_thousand, arm.summary.accuracy, number)
        for number, arm in enumerate(report.arms)
        if arm.money.per_thousand is not None and arm.summary.accuracy is not None
    ]
    if any(cost for _, cost, _, _ in points):
        title = "Cost against accuracy"
        yield Plot(title, Markup(plots.costs(points, title)))


def _category_plot(report: Report) -> Iterator[Plot]:
    names = list(dict.fromkeys(name for arm in report.arms for name in arm.summary.categories))
    groups = []
    for name in names[:_MOST_CATEGORIES]:
        bars = [
            plots.Bar(arm.summary.name, arm.summary.categories[name], number)
            for number, arm in enumerate(report.arms)
            if name in arm.summary.categories
        ]
        groups.append((name, bars))
    if groups:
        more = len(names) - len(groups)
        title = "Accuracy by category, with 95 % intervals"
        caption = f"{title}; {more} categories more in the JSON" if more else title
        yield Plot(caption, Markup(plots.categories(groups, title)))


def _number_plots(report: Report) -> Iterator[Plot]:
    for arm in report.arms[:_MOST_SCATTERS]:
        if arm.guesses:
            title = f"Guess against truth: {arm.summary.name}"
            yield Plot(title, Markup(plots.scatter(arm.guesses, title, ("truth", "guess"))))
    curves = [
        (arm.summary.name, arm.running_error, number)
        for number, arm in enumerate(report.arms)
        if arm.running_error
    ]
    if curves:
        title = "Mean absolute error of the first n answers, with its 95 % band"
        drawn = plots.running(curves, title, ("answers", "mean absolute error"))
        yield Plot(title, Markup(drawn))


def _matrices(report: Report) -> Iterator[Plot]:
    for arm in report.arms[:_MOST_MATRICES]:
        found = arm.summary.confusion
        if found is not None and found.matrix is not None:
            title = f"What is taken for what: {arm.summary.name}"
            yield Plot(title, Markup(plots.heatmap(found, title)), is_wide=True)


def _confused(report: Report) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Return each model's commonest mistakes, where there are labels."""
    shown = 10
    for arm in report.arms:
        found = arm.summary.confusion
        if found is not None and found.mistakes:
            most = MOST_IN_MATRIX if found.matrix is None else shown
            rows = [(one.right, one.given, one.n) for one in found.mistakes[:most]]
            yield arm.summary.name, rows
