"""A source -> the same rows without those that say a thing again."""

from pathlib import Path
from typing import NamedTuple

from selftune.core.records import Record
from selftune.data.dedupe import Contradictions, Deduped, dedupe
from selftune.data.likeness.near import THRESHOLD
from selftune.data.read import ReadOptions
from selftune.data.sources.container import container_of_suffix, load_container
from selftune.data.sources.sourced import read_source
from selftune.data.sources.target import open_target, target_suffix


class DedupeOptions(Record):
    """What counts as a repeat, and what becomes of contradictions."""

    read: ReadOptions = ReadOptions()
    near: float | None = THRESHOLD
    """Share of words in common from which questions are the same; None, only equal ones are."""
    contradictions: Contradictions = "keep"


class DedupedSource(NamedTuple):
    """What was read and what is left of it."""

    rows: int
    found: Deduped


def dedupe_source(
    source: str | Path, target: str | None, options: DedupeOptions | None = None
) -> DedupedSource:
    """Write the rows that stay to a target, or nowhere; return what was dropped and why.

    Raises:
        InvalidInput: lines cannot be read, or the target cannot be written.

    """
    options = options or DedupeOptions()
    read = read_source(source, options.read)
    found = dedupe(
        read.rows, near=options.near, contradictions=options.contradictions, lines=read.lines
    )
    if target is not None:
        container = load_container(container_of_suffix(target_suffix(target)))
        with open_target(target) as file:
            container.write((read.rows[at] for at in found.kept), file)
    return DedupedSource(len(read.rows), found)
