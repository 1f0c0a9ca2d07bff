"""What a run leaves in its folder: clean training rows, where each came from, and a report."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.canonical import fingerprint
from selftune.core.errors import Unavailable
from selftune.core.records import Record
from selftune.data.rows import Row
from selftune.data.sources.target import whole_file
from selftune.data.synthesis.budget import Spent

ROWS, PROVENANCE, REPORT = "train.jsonl", "provenance.jsonl", "report.json"


class Made(NamedTuple):
    """One row and where it came from."""

    row: Row
    origin: dict[str, Any]
    """Teacher, request, prompt version, seed, parents: what its line of provenance says."""


class Outcome(Record):
    """What every run reports; a verb adds its own figures."""

    rows: int
    """Rows in `train.jsonl`."""
    folder: str
    requests: int
    """Questions whose answers are used or counted here, earlier processes included."""
    fresh_requests: int
    """Those that this process asked."""
    unusable: dict[str, int]
    """Answers without a use, by what was wrong: refused, cut, malformed, rejected."""
    spent: Spent
    note: str | None = None
    """What to read before training on the teacher's answers."""
    stopped: str | None = None
    """Why the run ended before it was complete, and what to do; None when it is complete."""


def write_made(folder: Path, made: Sequence[Made], name: str = ROWS) -> None:
    """Write rows, and beside them their provenance: line N tells of row N.

    OpenAI accepts no unknown keys in training rows, so provenance has a file of its own; each line
    has the row's fingerprint, which finds it again in a file that was shuffled or merged. Files
    other than `train.jsonl` are there only when they have rows.
    """
    provenance = PROVENANCE if name == ROWS else f"{Path(name).stem}.{PROVENANCE}"
    if not made and name != ROWS:  # there may be one from when the run was shorter
        (folder / name).unlink(missing_ok=True)
        (folder / provenance).unlink(missing_ok=True)
        return
    write_lines(folder / name, (one.row for one in made))
    write_lines(
        folder / provenance,
        (
            {"row": number, "sha256": fingerprint(one.row), **one.origin}
            for number, one in enumerate(made, start=1)
        ),
    )


def write_report(folder: Path, outcome: Outcome) -> None:
    """Write the outcome as JSON for people."""
    text = json.dumps(outcome.model_dump(mode="json"), ensure_ascii=False, indent=2)
    _write(folder / REPORT, [text.encode() + b"\n"])


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write JSON lines, whole or not at all."""
    _write(path, (json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values))


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    try:
        with whole_file(path) as file:
            file.writelines(pieces)
    except OSError as error:
        raise Unavailable(
            f"{str(path)!r} cannot be written: {error.strerror}. Run the same again: no answer is "
            "asked for twice."
        ) from error
