"""Rows that two files share, whatever the order of their keys. Memory: one digest a row."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from selftune.data.read import read_lines


def shared_rows(training: Path, validation: Path) -> int:
    """Return how many rows of the validation file are in the training file too."""
    known = set(_digests(training))
    return sum(digest in known for digest in _digests(validation))


def _digests(path: Path) -> Iterator[bytes]:
    for line in read_lines(path):
        if line.row is not None:
            yield hashlib.sha256(json.dumps(line.row, sort_keys=True).encode()).digest()
