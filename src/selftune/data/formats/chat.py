"""OpenAI's chat JSONL, or any JSONL: one object a line."""

import json
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Jsonl":
    """Make the reader."""
    del params
    return Jsonl()


class Jsonl:
    """Reads lines."""

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Return every row; a line that is not an object is an error with its number."""
        rows = []
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise InvalidInput(f"{path}, line {number}: not valid JSON: {error}") from error
                if not isinstance(row, dict):
                    raise InvalidInput(f"{path}, line {number}: not a JSON object")
                rows.append(row)
        return rows
