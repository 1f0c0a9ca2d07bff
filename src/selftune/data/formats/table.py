"""CSV or TSV with a header line: one row of fields each."""

import csv
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record


class Params(Record):
    """How the fields are separated."""

    delimiter: str = ","


def build(params: Params) -> "Table":
    """Make the reader."""
    return Table(params.delimiter)


class Table:
    """Reads lines of fields."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Return every row under the header's names."""
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=self._delimiter, strict=True)
            try:
                return [dict(row) for row in reader]
            except csv.Error as error:
                raise InvalidInput(f"{path}, line {reader.line_num}: {error}") from error
