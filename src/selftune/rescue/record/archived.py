"""What an archive shows that a model was asked, and what it answered."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.data.read import read_rows
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.requests import Row


def items_of_evals(
    archive: Archive, names: Collection[str], evals: Collection[str] = ()
) -> Iterator[Row]:
    """Yield what runs with a model asked and heard, and runs of the evals that are named."""
    for run in archive.list("eval_run"):
        said = run.object if isinstance(run.object, dict) else {}
        if said.get("model") in names or run.parent in evals:
            items = archive.list("output_item", run.id)
            yield from (each.object for each in items if isinstance(each.object, dict))


def evals_of(archive: Archive, model: str) -> Iterator[tuple[str, str]]:
    """Yield id and name of the evals that were run with a model, oldest first."""
    runs = [each.object for each in archive.list("eval_run") if isinstance(each.object, dict)]
    used = {run.get("eval_id") for run in runs if run.get("model") == model}
    for entry in archive.list("eval"):
        if entry.id in used and isinstance(entry.object, dict):
            yield entry.id, str(entry.object.get("name") or "")


def stored_completions(archive: Archive, names: Collection[str]) -> Iterator[Row]:
    """Yield a model's stored completions with what was asked as their `messages`."""
    for kept in archive.list("completion"):
        if isinstance(kept.object, dict) and kept.object.get("model") in names:
            asked = [each.object for each in archive.list("completion_message", kept.id)]
            yield {**kept.object, "messages": asked}


def batches(archive: Archive, names: Collection[str]) -> Iterator[tuple[list[Row], list[Row]]]:
    """Yield of each batch its requests to a model, and the lines of its answers."""
    for batch in archive.list("batch"):
        found = batch.object if isinstance(batch.object, dict) else {}
        requests = [
            row
            for row in _content(archive, found.get("input_file_id"))
            if isinstance(body := row.get("body"), dict) and body.get("model") in names
        ]
        if requests:
            yield requests, _content(archive, found.get("output_file_id"))


def _content(archive: Archive, file: Any) -> list[Row]:
    """Return the rows of an archived file; none where it is not there."""
    entry = archive.get("file", file) if isinstance(file, str) else None
    return [] if entry is None or entry.blob is None else rows_of(archive.blob(entry.blob))


def rows_of(path: Path) -> list[Row]:
    """Return the rows of an archived file; of one that cannot be read, a row that cannot be asked."""
    try:
        return read_rows(path)
    except InvalidInput:
        return [{}]
