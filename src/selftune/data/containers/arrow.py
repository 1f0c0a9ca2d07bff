"""Arrow's own files and streams (Feather 2, the files of `datasets`), read batch by batch."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.columns import lines_of, load_arrow, table_of
from selftune.data.rows import Line, Row
from selftune.data.source import Source

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
        arrow = load_arrow(source.name)
        try:
            batches = _batches(source)
        except (arrow.ArrowException, OSError) as error:
            raise InvalidInput(f"{source.name} is damaged: {error}") from error
        yield from lines_of(source.name, batches)

    def write(self, rows: Iterable[Row], target: BinaryIO) -> int:
        table = table_of(rows)
        from pyarrow import ipc

        with ipc.new_file(target, table.schema) as writer:
            writer.write_table(table)
        return int(table.num_rows)


def _batches(source: Source) -> Iterator[Any]:
    from pyarrow import ipc

    if source.head.startswith(_STREAM_MAGIC):
        return iter(ipc.open_stream(source.stream))
    file = ipc.open_file(source.seekable())
    return (file.get_batch(index) for index in range(file.num_record_batches))
