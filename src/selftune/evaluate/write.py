"""Put a report's files into a folder."""

from pathlib import Path

from selftune.core.records import Record
from selftune.evaluate.report import Report, to_html, to_json, to_markdown
from selftune.store.whole_files import write_whole


class ReportFiles(Record):
    """Where a report is."""

    html: Path
    markdown: Path
    json_file: Path


def write_report(report: Report, folder: Path) -> ReportFiles:
    """Write the report as HTML, Markdown and JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    written = ReportFiles(
        html=folder / "report.html",
        markdown=folder / "report.md",
        json_file=folder / "report.json",
    )
    for path, text in (
        (written.html, to_html(report)),
        (written.markdown, to_markdown(report)),
        (written.json_file, to_json(report)),
    ):
        write_whole(path, text.encode(), durable=False)
    return written
