"""A learning curve as one HTML page that needs nothing from anywhere."""

from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from selftune.evaluate.curve.forecast import Drawn
from selftune.evaluate.curve.plot import curve_plot
from selftune.evaluate.curve.report import (
    CurveReport,
    bill_texts,
    gain_text,
    law_text,
    laws_text,
    need_text,
    span_text,
    value_text,
)


def to_html(report: CurveReport) -> str:
    """Return the page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    metric = report.metric
    environment.filters["value"] = lambda value: value_text(metric, value)
    environment.filters["bill"] = bill_texts
    template = files("selftune.evaluate.curve").joinpath("curve.html.j2")
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(
        report=report,
        plot=Markup(curve_plot(report, Drawn(report.fit))),
        law=law_text(report),
        laws=laws_text(report),
        need=need_text(report),
        outlooks=[
            (each, span_text(metric, each.forecast.error), gain_text(metric, each.forecast.gain))
            for each in report.outlooks
        ],
    )
