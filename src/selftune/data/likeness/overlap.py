"""Questions that two files share. Memory: sixteen bytes for each question of the smaller one."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import xxhash

from selftune.data.likeness.questions import question
from selftune.data.likeness.words import normal_form
from selftune.data.read import read_lines


def shared_questions(training: Path, validation: Path) -> int:
    """Return how many rows of the validation file ask what a row of the training file asks.

    Case, spacing and punctuation do not count, nor do system prompts.
    """
    asked = Counter(_digests(validation))
    shared = {digest for digest in _digests(training) if digest in asked}
    return sum(asked[digest] for digest in shared)


def _digests(path: Path) -> Iterator[bytes]:
    for line in read_lines(path):
        if line.row is not None:
            yield xxhash.xxh3_128_digest(normal_form(question(line.row)).encode("utf-8", "replace"))
