"""A JSON array of objects in one file."""

import json
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "JsonArray":
    """Make the reader."""
    del params
    return JsonArray()


class JsonArray:
    """Reads one array."""

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Return every row."""
        try:
            rows = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise InvalidInput(f"{path}: not valid JSON: {error}") from error
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, dict):
                raise InvalidInput(f"{path}: entry {number} of the array is not an object")
        return list(rows)
