"""A report as Markdown, for an issue or a pull request."""

from collections.abc import Iterable

from selftune.evaluate.figures import figures
from selftune.evaluate.findings import Report

_MARKS = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_[]<>#|~"} | {chr(code): None for code in range(32)}
)
"""What Markdown reads as its own, and what terminals obey."""


def to_markdown(report: Report) -> str:
    """Return the verdicts, the main table and what to know before relying on it."""
    names = [arm.summary.name for arm in report.arms]
    lines = [f"# {plain(report.name)}", ""]
    for one in report.comparisons:
        lines += [f"**{plain(one.words)}**", ""]
        lines += [*(f"- {plain(reason)}" for reason in one.verdict.reasons), ""]
    lines += [_line(["", *names]), "|---" * (len(names) + 1) + "|"]
    lines += [_line(row) for row in figures(report)]
    lines.append("")
    lines += [*(f"> {plain(note)}" for note in report.notes), ""] if report.notes else []
    lines += [f"Round {plain(report.round.id)}, {report.questions:,} questions.", ""]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return " ".join(text.split()).translate(_MARKS)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"
