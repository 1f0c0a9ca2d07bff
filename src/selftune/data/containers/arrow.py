"""Arrow's own files and streams (Feather 2, the files of `datasets`), read batch by batch."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO

from selftune.core.records import Record
from selftune.data.rows import Line, Row
from selftune.data.sources.columns import lines_of, table_of
from selftune.data.sources.source import Source

_FILE_MAGIC, _STREAM_MAGIC = b"ARROW1", b"\xff\xff\xff\xff"


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Arrow":
    """Make the container."""
    del params
    return Arrow()


class Arrow:
    """Reads both kinds, writes files."""

    suffixes = (".arrow", ".feather")

    def recognizes(self, source: Source) -> bool:
        return source.head.startswith((_FILE_MAGIC, _STREAM_MAGIC))

    def lines(self, source: Source) -> Iterator[Line]:
        yield from lines_of(source.name, partial(_batches, source))

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> int:
        table = table_of(rows)
        from pyarrow import ipc

        with ipc.new_file(target, table.schema) as writer:
            writer.write_table(table)
        return int(table.num_rows)


def _batches(source: Source) -> Iterator[Any]:
    from pyarrow import ipc

    if source.head.startswith(_STREAM_MAGIC):
        yield from ipc.open_stream(source.stream)
        return
    file = ipc.open_file(source.seekable())
    for index in range(file.num_record_batches):
        yield file.get_batch(index)
