"""What a container is: the way rows are packed into bytes. One file each in `containers/`."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.data import containers
from selftune.data.rows import Line, Row
from selftune.data.sources.source import Source

FALLBACK = "jsonl"
"""Reads what no container knows, and says line by line what is wrong with it."""
_TELLING_BYTES = 1_000


class Container(Protocol):
    """Reads rows out of bytes and, where it can, writes them."""

    suffixes: tuple[str, ...]
    """Endings of file names that are written in this way."""

    def recognizes(self, source: Source) -> bool:
        """Return whether a source is packed in this way, by its first bytes or its name.

        No two built-in containers recognise the same source.
        """

    def lines(self, source: Source) -> Iterator[Line]:
        """Yield rows, and what is wrong where there is no row; goes on after what is wrong.

        Raises:
            InvalidInput: nothing further can be read.

        """

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> int:
        """Write rows, the same bytes every time; return how many there were.

        `suffix` is the ending of the target's name, one of `suffixes` or none.

        Raises:
            InvalidInput: rows of this shape cannot be packed in this way.

        """


def load_container(name: str) -> Container:
    """Return a container by its name."""
    plugin = plugins.load(containers, name)
    container: Container = plugin.build(plugin.Params())
    return container


def container_of(source: Source) -> str:
    """Return the name of the container that recognises a source."""
    names = plugins.available(containers)
    found = next((name for name in names if load_container(name).recognizes(source)), None)
    if found is None and b"\0" in source.head[:_TELLING_BYTES]:
        raise InvalidInput(f"{source.name} {_guess(source.head)}", code="file-not-text")
    return found or FALLBACK


def _guess(head: bytes) -> str:
    """Return what bytes are that no container knows, and what to do about it."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is text in UTF-16. Save it as UTF-8."
    if head.startswith(b"PK\x03\x04"):
        return "is a zip archive or a spreadsheet. Unpack it, or export it as CSV."
    return "is neither text nor Parquet nor Arrow. Unpack it, or export it as JSONL or CSV."


def container_of_suffix(suffix: str) -> str:
    """Return the name of the container that writes files with an ending; JSONL for any other."""
    names = plugins.available(containers)
    return next((name for name in names if suffix in load_container(name).suffixes), FALLBACK)
