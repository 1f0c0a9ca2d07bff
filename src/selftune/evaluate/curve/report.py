"""What a learning curve shows: sizes, forecasts, costs, and how far to trust them."""

import json
from collections.abc import Sequence
from typing import Literal

from selftune.core.records import Record
from selftune.evaluate.curve.fit import Fit
from selftune.evaluate.curve.forecast import FARTHEST, Drawn, Forecast, Need, Span
from selftune.evaluate.curve.words import doubts_of_fit, doubts_of_forecast, note_on_floor
from selftune.evaluate.statistics.interval import Interval

Metric = Literal["accuracy", "score", "error"]
"""`accuracy`: the share that passes; `score`: the mean credit from 0 to 1; `error`: the mean value of
graders that measure an error, in its own unit."""


class Bill(Record):
    """What one training takes; None is unknown."""

    tokens: float | None = None
    seconds: float | None = None
    dollars: float | None = None


class SizeResult(Record):
    """What models that were trained on so many rows are like."""

    rows: int
    value: Interval
    """The metric, all runs together, on other items of the same kind."""
    runs: tuple[float, ...]
    """The metric of each run."""
    bill: Bill
    """Of one run, on average."""


class Outlook(Record):
    """What more rows would bring and cost."""

    forecast: Forecast
    bill: Bill
    doubts: tuple[str, ...]
    """Why not to rely on it."""


class CurveReport(Record):
    """Everything that a learning curve shows."""

    name: str
    metric: Metric
    model: str
    """What was trained."""
    priced_as: str
    """Whose prices the costs are."""
    items: int
    """Questions that every model was asked, and that were scored for every one."""
    left_out: int
    """Questions without a score somewhere: no model is judged by them."""
    sizes: tuple[SizeResult, ...]
    fit: Fit
    outlooks: tuple[Outlook, ...]
    target: float | None = None
    """In the unit of the metric."""
    need: Need | None = None
    """What the target needs."""
    doubts: tuple[str, ...]
    """Why not to rely on the curve at all."""
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Return what to conclude, in a sentence or two."""
        if self.doubts:
            return "The fit is too weak for a forecast. " + self.doubts[0]
        kept = [each for each in self.outlooks if not each.doubts]
        if not kept:
            return "The curve is fitted, but no forecast is sure enough. " + (
                self.outlooks[0].doubts[0] if self.outlooks else ""
            )
        said = " ".join(self._promise(each.forecast) for each in kept)
        beyond = [each for each in self.outlooks if each.doubts]
        if beyond:
            said += f" What {beyond[0].forecast.times:g} x would bring is too uncertain to say."
        return said

    def _promise(self, forecast: Forecast) -> str:
        return (
            f"{forecast.times:g} x the rows ({forecast.rows:,}) would bring {self.metric} "
            f"{span_text(self.metric, forecast.error)}; the gain is "
            f"{gain_text(self.metric, forecast.gain)}."
        )


def report_of_fit(fit: Fit, metric: Metric, times: Sequence[float]) -> tuple[Drawn, list[Outlook]]:
    """Return the draws around a fit and its forecasts, without their costs."""
    drawn = Drawn(fit)
    forecasts = [drawn.forecast(each) for each in times]
    return drawn, [
        Outlook(
            forecast=forecast,
            bill=Bill(),
            doubts=doubts_of_forecast(fit, forecast, lambda size: amount(metric, size)),
        )
        for forecast in forecasts
    ]


def doubts_and_notes(fit: Fit, metric: Metric) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return why not to rely on a fit, and what else to know of it."""
    doubts = doubts_of_fit(fit, lambda size: amount(metric, size))
    floor = note_on_floor(fit, lambda error: value_text(metric, value_of(metric, error)))
    return doubts, () if floor is None or doubts else (floor,)


def value_of(metric: Metric, error: float) -> float:
    """Return the metric of an error; the other way round it is the same."""
    return error if metric == "error" else 1 - error


def value_text(metric: Metric, value: float) -> str:
    """Return the metric as text."""
    if metric != "error":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}"


def amount(metric: Metric, size: float) -> str:
    """Return a difference as text, without a sign."""
    return f"{size:.3g}" if metric == "error" else f"{100 * size:.1f} points"


def span_text(metric: Metric, error: Span) -> str:
    """Return a forecast of an error as the metric, with its interval."""
    value = value_text(metric, value_of(metric, error.value))
    if error.low is None or error.high is None:
        return f"{value} (interval unknown)"
    ends = sorted(value_of(metric, end) for end in (error.low, error.high))
    low, high = (value_text(metric, end) for end in ends)
    return f"{value} ({low} to {high})"


def gain_text(metric: Metric, gain: Span) -> str:
    """Return what is gained, with its interval."""
    if gain.low is None or gain.high is None:
        return f"{amount(metric, gain.value)} (interval unknown)"
    low, high = (amount(metric, end) for end in (gain.low, gain.high))
    return f"{amount(metric, gain.value)} ({low} to {high})"


def law_text(report: CurveReport) -> str:
    """Return the fitted law as text."""
    law = report.fit.curve
    name = "error" if report.metric == "error" else f"1 - {report.metric}"
    return f"{name} = {law.floor:.4g} + {law.scale:.4g} x rows^-{law.exponent:.3g}"


def laws_text(report: CurveReport) -> str:
    """Return how the laws compare, as text; empty where there are too few runs."""
    known = [law for law in (report.fit.curve, *report.fit.others) if law.aicc is not None]
    return ", ".join(f"{law.law} {law.aicc:.1f}" for law in known)


def need_text(report: CurveReport) -> str | None:
    """Return what the target needs, as text; None without a target."""
    need = report.need
    if need is None or report.target is None:
        return None
    goal = f"{report.metric} {value_text(report.metric, report.target)}"
    if need.error >= report.fit.points[-1].error:
        return f"{goal} is reached already with {report.fit.points[-1].rows:,} rows, or nearly."
    within = f"up to {need.limit:,} rows, {FARTHEST:g} x what was tried"
    if need.rows is None:
        return (
            f"{goal} is never reached by this curve: it levels off at "
            f"{value_text(report.metric, value_of(report.metric, report.fit.curve.floor))}."
        )
    if need.rows > need.limit:
        return f"{goal} is out of sight: the curve does not get there {within}."
    low = f"{need.low:,.0f}" if need.low is not None else "unknown"
    high = f"{need.high:,.0f}" if need.high is not None else f"more than {need.limit:,}"
    return f"{goal} needs about {need.rows:,.0f} rows (95 % interval {low} to {high})."


def bill_texts(bill: Bill) -> tuple[str, str, str]:
    """Return tokens, seconds and dollars as text; what is not known is `unknown`."""
    tokens = "unknown" if bill.tokens is None else f"{bill.tokens:,.0f}"
    seconds = "unknown" if bill.seconds is None else f"{bill.seconds:,.0f} s"
    if bill.dollars is None:
        return tokens, seconds, "unknown"
    return tokens, seconds, f"${bill.dollars:,.2f}" if bill.dollars else "none"


def to_json(report: CurveReport) -> str:
    """Return everything, for programs."""
    found = report.model_dump(mode="json") | {
        "verdict": report.words,
        "weak": bool(report.doubts),
        "law": law_text(report),
        "target_words": need_text(report),
    }
    return json.dumps(found, ensure_ascii=False, indent=1)
