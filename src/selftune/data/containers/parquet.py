"""Parquet: rows as columns on disk, read batch by batch."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO

from selftune.core.records import Record
from selftune.data.rows import Line, Row
from selftune.data.sources.columns import ROWS_PER_BATCH, lines_of, table_of
from selftune.data.sources.source import Source


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Parquet":
    """Make the container."""
    del params
    return Parquet()


class Parquet:
    """Reads and writes Parquet."""

    suffixes = (".parquet",)

    def recognizes(self, source: Source) -> bool:
        return source.head.startswith(b"PAR1")

    def lines(self, source: Source) -> Iterator[Line]:
        yield from lines_of(source.name, partial(_batches, source))

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> int:
        table = table_of(rows)
        from pyarrow import parquet

        parquet.write_table(table, target, compression="zstd")
        return int(table.num_rows)


def _batches(source: Source) -> Iterator[Any]:
    from pyarrow import parquet

    yield from parquet.ParquetFile(source.seekable()).iter_batches(ROWS_PER_BATCH)
