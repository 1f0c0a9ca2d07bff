"""A comparison as one HTML file, as Markdown and as JSON."""

import json
from collections import Counter
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from selftune.core.records import Record
from selftune.evaluate import plots
from selftune.evaluate.compare import Comparison, Summary
from selftune.evaluate.items import Item
from selftune.evaluate.run import Answered, EvalRun
from selftune.evaluate.scorers.numeric_error import parse
from selftune.evaluate.statistics import Interval

_MOST_SHOWN = 12
_MOST_CONFUSED = 10


class Report(Record):
    """Everything that a report shows."""

    name: str
    description: str
    base_name: str
    """What really was trained."""
    model: str
    job_id: str
    facts: dict[str, str]
    """Lines of the table about the job: rows, epochs, seconds."""
    events: tuple[str, ...]
    losses: tuple[tuple[float, float], ...]
    items: tuple[Item, ...]
    base: EvalRun
    tuned: EvalRun
    comparison: Comparison
    answer_field: str | None = None
    """Field of the item that holds the right answer, if one does."""


def to_json(report: Report) -> str:
    """Return everything, for programs."""
    return json.dumps(report.model_dump(mode="json"), ensure_ascii=False, indent=1)


def to_html(report: Report) -> str:
    """Return one page that needs nothing from anywhere."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    template = files("selftune.evaluate").joinpath("templates/report.html.j2")
    page = environment.from_string(template.read_text(encoding="utf-8"))
    found = report.comparison
    return page.render(
        report=report,
        found=found,
        plots=[(title, Markup(svg)) for title, svg in _plots(report)],
        flipped=_flipped(report),
        failures=_failures(report),
        confused=_confused(report),
        figures=figures(report),
    )


def to_markdown(report: Report) -> str:
    """Return the main figures, for an issue or a pull request."""
    found = report.comparison
    lines = [
        f"# {report.name}\n",
        f"{found.words}\n",
        *(f"- {reason}" for reason in found.verdict.reasons),
        "",
        "| | base | tuned |",
        "|---|---|---|",
        *(f"| {name} | {base} | {tuned} |" for name, base, tuned in figures(report)),
        "",
        f"Model: `{report.model}`",
        "",
    ]
    return "\n".join(lines)


def figures(report: Report) -> list[tuple[str, str, str]]:
    """Return the rows of the main table as text: name, base, tuned."""
    found = report.comparison
    score_name = "mean absolute error" if _numbers(report) else "mean score"
    rows = [
        ("accuracy (95 % interval)", *_both(found, lambda s: interval_text(s.accuracy))),
        (score_name, *_both(found, lambda s: score_text(s.score, s.mean_score))),
        ("points", *_both(found, lambda s: f"{s.points:.1f} of {s.most_points:g}")),
        ("tokens of an answer", *_both(found, lambda s: f"{s.mean_tokens:.1f}")),
        (
            "latency, median / p90",
            *_both(
                found, lambda s: f"{1000 * s.median_seconds:.1f} / {1000 * s.p90_seconds:.1f} ms"
            ),
        ),
    ]
    if found.base.errored or found.tuned.errored:
        rows.append(("could not be scored", *_both(found, lambda s: str(s.errored))))
    for name, tuned in found.tuned.categories.items():
        base = found.base.categories.get(name)
        rows.append((name, interval_text(base), interval_text(tuned)))
    return rows


def score_text(value: Interval | None, mean: float | None) -> str:
    """Return a mean with its interval, if there is one."""
    if mean is None:
        return "nothing could be scored"
    if value is None:
        return f"{mean:.3g} (no interval: no two scores differ)"
    return f"{value.value:.3g} ({value.low:.3g} - {value.high:.3g})"


def interval_text(value: Interval | None) -> str:
    """Return a share with its interval and n."""
    if value is None:
        return "nothing could be scored"
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:.1f} % ({low:.1f} - {high:.1f}, n={value.n})"


def _both(found: Comparison, text: Any) -> tuple[str, str]:
    first: Summary = found.base
    return text(first), text(found.tuned)


def _plots(report: Report) -> list[tuple[str, str]]:
    found = report.comparison
    both = (("base", found.base.accuracy), ("tuned", found.tuned.accuracy))
    rows = [(name, value, name) for name, value in both if value is not None]
    made = [("Accuracy, with 95 % intervals", plots.interval_bars(rows, "Accuracy"))]
    if found.tuned.categories:
        by_name = [(name, value, "tuned") for name, value in found.tuned.categories.items()]
        bars = plots.interval_bars(by_name, "Accuracy of the tuned model by category")
        made.append(("Tuned model, by category", bars))
    numbers = _numbers(report)
    if numbers:
        made.append(
            ("Guess against truth", plots.scatter(numbers, "Guess against truth", "truth", "guess"))
        )
    if report.losses:
        drawn = plots.line(list(report.losses), "Training loss by step", "step", "loss")
        made.append(("Training loss", drawn))
    milliseconds = [1000 * answer.seconds for answer in report.tuned.answers]
    made.append(("Latency of the tuned model", plots.histogram(milliseconds, "Latency", "ms")))
    return made


def _numbers(report: Report) -> list[tuple[float, float]]:
    """Return truth and guess of every item, when a number was asked for."""
    if report.answer_field is None:
        return []
    pairs = []
    for item, answer in zip(report.items, report.tuned.answers, strict=True):
        value = item.item.get(report.answer_field)
        guess = parse(answer.output)
        if isinstance(value, int | float) and not isinstance(value, bool) and guess is not None:
            pairs.append((float(value), guess))
    return pairs


def _flipped(report: Report) -> list[dict[str, Any]]:
    """Return the items on which one model passes and the other does not."""
    differ = set(report.comparison.only_base) | set(report.comparison.only_tuned)
    rows = zip(report.items, report.base.answers, report.tuned.answers, strict=True)
    found = [_shown(item, base, tuned) for item, base, tuned in rows if item.index in differ]
    return sorted(found, key=lambda row: row["tuned_passed"])[:_MOST_SHOWN]


def _failures(report: Report) -> list[dict[str, Any]]:
    """Return the tuned model's worst answers."""
    rows = [
        _shown(item, base, tuned)
        for item, base, tuned in zip(
            report.items, report.base.answers, report.tuned.answers, strict=True
        )
        if not tuned.passed
    ]
    return rows[:_MOST_SHOWN]


def _shown(item: Item, base: Answered, tuned: Answered) -> dict[str, Any]:
    asked = [m["content"] for m in item.messages if m["role"] == "user"]
    details = {name: value for name, value in item.item.items() if str(value) not in asked}
    return {
        "index": item.index,
        "question": asked[-1] if asked else "",
        "details": json.dumps(details, ensure_ascii=False),
        "base": base.output,
        "tuned": tuned.output,
        "base_passed": base.passed,
        "tuned_passed": tuned.passed,
        "reason": "; ".join(score.reason for score in tuned.scores if score.reason),
    }


def _confused(report: Report) -> list[tuple[str, str, int]]:
    """Return the commonest pairs of right and given answer, when answers are labels."""
    if report.answer_field is None or _numbers(report):
        return []
    pairs = Counter(
        (str(item.item.get(report.answer_field)), answer.output)
        for item, answer in zip(report.items, report.tuned.answers, strict=True)
        if not answer.passed
    )
    return [(truth, given, n) for (truth, given), n in pairs.most_common(_MOST_CONFUSED)]
