"""The main table as text: a row for each figure, a cell for each model."""

import math
from collections.abc import Callable, Iterator

from selftune.evaluate.compare import Comparison
from selftune.evaluate.findings import ArmFindings, Report
from selftune.evaluate.statistics import Interval
from selftune.evaluate.summary import Seconds, Summary
from selftune.models.costs import percent_change

Row = tuple[str, ...]
Cell = Callable[[ArmFindings], str]
NOTHING = "nothing could be scored"
UNKNOWN = "unknown"
MOST_CATEGORIES = 60


def figures(report: Report) -> list[Row]:
    """Return the rows of the main table: name, then one cell for each model."""
    return [
        *_answered(report),
        *_quality(report),
        *_numbers(report),
        *_repeats(report),
        *_speed(report),
        *_cost(report),
        *_categories(report),
    ]


def share_text(value: Interval | None) -> str:
    """Return a share with its interval and n."""
    if value is None:
        return NOTHING
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:.1f} % ({low:.1f} - {high:.1f}, n={value.n})"


def score_text(value: Interval | None, mean: float | None) -> str:
    """Return a mean with its interval, if there is one."""
    if mean is None:
        return NOTHING
    if value is None:
        return f"{mean:.3g} (no interval: no two scores differ)"
    return f"{value.value:.3g} ({value.low:.3g} - {value.high:.3g})"


def difference_text(found: Comparison) -> str:
    """Return a difference of shares with its interval and p-value."""
    if found.difference is None or found.p_value is None:
        return NOTHING
    gap = found.difference
    return (
        f"{100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f}), "
        f"p = {found.p_value:.2g}"
    )


def seconds_text(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def dollars_text(dollars: float | None) -> str:
    """Return an amount; small ones with enough digits to compare."""
    if dollars is None:
        return UNKNOWN
    if dollars == 0:
        return "$0"
    digits = max(2, 3 - math.floor(math.log10(dollars))) if dollars < 1 else 2
    whole, _, part = f"{dollars:,.{digits}f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"


def change_text(before: float | None, after: float | None) -> str:
    """Return how much more or less it is, in percent of what it was."""
    if before is None or after is None or before == 0:
        return ""
    return f" ({percent_change(before, after):+.1f} %)"


def _answered(report: Report) -> Iterator[Row]:
    def cell(arm: ArmFindings) -> str:
        found = arm.summary.coverage
        if found.scored == found.expected:
            return f"{found.expected:,}"
        parts = [f"{found.answered:,} of {found.expected:,}"]
        counts = {"not scored": found.errored, "skipped": found.skipped}
        parts += [f"{n:,} {name}" for name, n in counts.items() if n]
        return ", ".join(parts)

    yield _row("answered", report, cell)


def _quality(report: Report) -> Iterator[Row]:
    yield _row("accuracy (95 % interval)", report, lambda arm: share_text(arm.summary.accuracy))
    if report.comparisons:
        compared = report.comparisons
        yield ("difference", "", *(difference_text(one) for one in compared))
        yield ("verdict", "", *(one.outcome for one in compared))
    summaries = [arm.summary for arm in report.arms]
    if not all(_says_the_same(s) for s in summaries):
        is_error = any(s.numbers is not None for s in summaries)
        name = "mean error, as graded" if is_error else "mean score"
        yield _row(name, report, lambda arm: score_text(arm.summary.score, arm.summary.mean_score))
    yield _row(
        "points", report, lambda arm: f"{arm.summary.points:.1f} of {arm.summary.most_points:g}"
    )
    for number, grade in enumerate(summaries[0].grades):
        if all(len(s.grades) > number for s in summaries):
            yield _row(
                f"passes {grade.name}",
                report,
                lambda arm, at=number: share_text(arm.summary.grades[at].passed),  # type: ignore[misc]
            )


def _says_the_same(found: Summary) -> bool:
    """Return whether the mean score is what another row says."""
    known = [
        None if found.accuracy is None else found.accuracy.value,
        None if found.numbers is None else found.numbers.mean_absolute,
    ]
    mean = found.mean_score
    return mean is None or any(one is not None and math.isclose(one, mean) for one in known)


def _numbers(report: Report) -> Iterator[Row]:
    if all(arm.summary.numbers is None for arm in report.arms):
        return

    def error(arm: ArmFindings) -> str:
        found = arm.summary.numbers
        return NOTHING if found is None else score_text(found.interval, found.mean_absolute)

    def squared(arm: ArmFindings) -> str:
        found = arm.summary.numbers
        return NOTHING if found is None else f"{found.root_mean_square:.3g}"

    def explained(arm: ArmFindings) -> str:
        found = arm.summary.numbers
        if found is None:
            return NOTHING
        return "the truth does not vary" if found.r_squared is None else f"{found.r_squared:.3f}"

    yield _row("mean absolute error", report, error)
    yield _row("root mean square error", report, squared)
    yield _row("R²", report, explained)
    if any(arm.summary.no_number for arm in report.arms):
        yield _row("answers without a number", report, lambda arm: f"{arm.summary.no_number:,}")


def _repeats(report: Report) -> Iterator[Row]:
    found = [arm.summary.repeats for arm in report.arms]
    most = max((max(each.pass_any, default=0) for each in found if each), default=0)
    if most < 2:
        return
    for name in ("pass_any", "pass_all"):
        for k in sorted({2, most}):

            def cell(arm: ArmFindings, name: str = name, k: int = k) -> str:
                shares = getattr(arm.summary.repeats, name, {})
                return f"{100 * shares[k]:.1f} %" if k in shares else UNKNOWN

            words = "at least one" if name == "pass_any" else "all"
            mark = "@" if name == "pass_any" else "^"
            yield _row(f"pass{mark}{k}: {words} of {k} answers", report, cell)

    def spread(arm: ArmFindings) -> str:
        repeats = arm.summary.repeats
        if repeats is None or repeats.spread is None:
            return UNKNOWN
        return f"{repeats.spread.between:.3g} / {repeats.spread.within:.3g}"

    def pays(arm: ArmFindings) -> str:
        repeats = arm.summary.repeats
        if repeats is None or repeats.spread is None:
            return UNKNOWN
        return str(repeats.spread.samples_that_pay or "all: the questions do not differ")

    yield _row("variance between / within questions", report, spread)
    yield _row("answers to a question that pay", report, pays)


def _speed(report: Report) -> Iterator[Row]:
    base = report.arms[0].summary

    def tokens(arm: ArmFindings) -> str:
        found = arm.summary.tokens
        if found is None:
            return UNKNOWN
        before = None if base.tokens is None else base.tokens.completion_tokens
        change = "" if arm is report.arms[0] else change_text(before, found.completion_tokens)
        return f"{found.completion_tokens:.1f}{change}"

    def prompt(arm: ArmFindings) -> str:
        found = arm.summary.tokens
        return UNKNOWN if found is None else f"{found.prompt_tokens:.1f}"

    def mean(arm: ArmFindings) -> str:
        found = arm.summary.latency
        if found is None:
            return UNKNOWN
        before = None if base.latency is None else base.latency.mean
        change = "" if arm is report.arms[0] else change_text(before, found.mean)
        return f"{seconds_text(found.mean)}{change}"

    yield _row("tokens of a question", report, prompt)
    yield _row("tokens of an answer", report, tokens)
    yield _row("latency, mean", report, mean)
    yield _row("latency, p50 / p90 / p99", report, lambda arm: _spread(arm.summary.latency))
    if any(arm.summary.first_token is not None for arm in report.arms):
        yield _row(
            "first token, p50 / p90 / p99", report, lambda arm: _spread(arm.summary.first_token)
        )


def _spread(found: Seconds | None) -> str:
    if found is None:
        return UNKNOWN
    return " / ".join(seconds_text(each) for each in (found.p50, found.p90, found.p99))


def _cost(report: Report) -> Iterator[Row]:
    yield _row("cost of 1,000 answers", report, lambda arm: dollars_text(arm.money.per_thousand))
    volume = report.requests_per_day
    if volume is not None:
        name = f"cost of a year, {volume:,g} a day"
        yield _row(name, report, lambda arm: dollars_text(arm.money.per_year))
    if all(arm.money.training is None for arm in report.arms):
        return

    def training(arm: ArmFindings) -> str:
        return "" if arm.money.training is None else dollars_text(arm.money.training)

    def even(arm: ArmFindings) -> str:
        found = arm.money.break_even
        if found is None:
            return ""
        if found.requests is None:
            return found.reason
        days = "" if found.days is None else f", {found.days:,.1f} days"
        return f"after {found.requests:,} answers{days}"

    yield _row("training", report, training)
    yield _row("training has paid for itself", report, even)


def _categories(report: Report) -> Iterator[Row]:
    names = list(dict.fromkeys(name for arm in report.arms for name in arm.summary.categories))
    for name in names[:MOST_CATEGORIES]:
        yield _row(
            name,
            report,
            lambda arm, name=name: share_text(arm.summary.categories.get(name)),  # type: ignore[misc]
        )
    if len(names) > MOST_CATEGORIES:
        more = f"and {len(names) - MOST_CATEGORIES:,} categories more, in the JSON"
        yield (more, *("" for _ in report.arms))


def _row(name: str, report: Report, cell: Cell) -> Row:
    return (name, *(cell(arm) for arm in report.arms))
