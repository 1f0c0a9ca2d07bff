"""A learning curve as text, JSON and a page."""

import json
import re
from pathlib import Path

import pytest

from selftune.evaluate.curve.fit import Point, fit_curve
from selftune.evaluate.curve.page import to_html
from selftune.evaluate.curve.report import (
    Bill,
    CurveReport,
    Metric,
    SizeResult,
    bill_texts,
    doubts_and_notes,
    need_text,
    report_of_fit,
    to_json,
    value_of,
)
from selftune.evaluate.statistics import Interval

HOSTILE = "<script>alert(1)</script>"


def report(
    errors: dict[int, tuple[float, ...]], metric: Metric = "accuracy", target: float | None = None
) -> CurveReport:
    points = [Point(rows=rows, errors=found, item_error=0.03) for rows, found in errors.items()]
    fit = fit_curve(points, most=None if metric == "error" else 1.0)
    drawn, outlooks = report_of_fit(fit, metric, (2.0, 10.0))
    doubts, notes = doubts_and_notes(fit, metric)
    sizes = tuple(
        SizeResult(
            rows=point.rows,
            value=Interval(
                value=(value := value_of(metric, point.error)),
                low=max(value - 0.06, 0),
                high=value + 0.06,
                n=100,
            ),
            runs=tuple(value_of(metric, error) for error in point.errors),
            bill=Bill(tokens=90.0 * point.rows, seconds=1.5, dollars=None),
        )
        for point in fit.points
    )
    return CurveReport(
        name=HOSTILE,
        metric=metric,
        model="selftune/minilm",
        priced_as="somebody/else",
        items=100,
        left_out=0,
        sizes=sizes,
        fit=fit,
        outlooks=tuple(outlooks),
        target=target,
        need=None if target is None else drawn.need(value_of(metric, target)),
        doubts=doubts,
        notes=notes,
    )


def good(metric: Metric = "accuracy", target: float | None = None) -> CurveReport:
    errors = {
        n: tuple(0.1 + 2 * n**-0.5 + e for e in (-4e-3, 0, 4e-3)) for n in (50, 100, 200, 400)
    }
    return report(errors, metric, target)


def test_a_page_needs_nothing_and_runs_nothing_of_the_users() -> None:
    page = to_html(good())
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert re.findall(r'(?:src|href|url)\s*[=(]\s*"?http', page) == []


def test_a_plot_says_in_words_what_it_shows() -> None:
    page = to_html(good())
    svg = page[page.index("<svg") : page.index("</svg>")]
    assert 'role="img"' in svg
    assert "<desc" in svg
    assert "400 rows 80.0 %" in svg
    assert svg.count('class="dot"') == 12
    assert 'class="band"' in svg
    assert "nan" not in svg


def test_what_is_not_known_is_unknown_and_not_zero() -> None:
    assert bill_texts(Bill(tokens=10.0, seconds=None, dollars=None)) == ("10", "unknown", "unknown")
    assert bill_texts(Bill(tokens=10.0, seconds=1.0, dollars=0.0))[2] == "none"
    assert "unknown" in to_html(good())


def test_a_weak_fit_says_so_first() -> None:
    weak = report({200: (0.4,), 2_000: (0.3, 0.32), 20_000: (0.25,)})
    assert weak.words.startswith("The fit is too weak for a forecast. Three sizes")
    assert "if the curve could be relied on" in to_html(weak)
    assert json.loads(to_json(weak))["weak"] is True


def test_a_good_fit_promises_a_gain_with_its_interval() -> None:
    said = good().words
    assert re.search(r"2 x the rows \(800\) would bring accuracy 8[23]\.\d % \(.* to .* %\)", said)
    assert "the gain is" in said


def test_a_target_is_told_in_rows() -> None:
    assert re.search(
        r"^accuracy 85\.0 % needs about 1,\d{3} rows", need_text(good(target=0.85)) or ""
    )
    assert "reached already" in (need_text(good(target=0.5)) or "")
    assert "never reached" in (need_text(good(target=0.99)) or "")
    assert need_text(good()) is None


def test_json_has_no_number_that_is_none() -> None:
    text = to_json(good("error", 0.01))
    assert "Infinity" not in text
    assert "NaN" not in text
    assert json.loads(text)["need"]["rows"] is None


def test_an_error_is_drawn_in_its_own_unit() -> None:
    page = to_html(report({n: (90 * n**-0.2,) * 2 for n in (50, 100, 200, 400)}, "error"))
    assert "x rows^-0.2</code>" in page
    assert "nan" not in page


def test_the_program_of_the_docs_prints_what_the_docs_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "plan-data-and-settings.md"
    text = page.read_text(encoding="utf-8")
    [code] = re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(code, str(page), "exec"), {})
    value, low, high = (float(number) for number in capsys.readouterr().out.split())
    said = re.search(r"would reach \$([\d.]+) .* from \$(\d+) to \$(\d+)", text)
    assert said is not None
    assert (f"{value:.1f}", f"{low:.0f}", f"{high:.0f}") == said.groups()
