"""A file of any known shape -> rows, chosen by what is in it."""

from pathlib import Path
from typing import Any

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.data import formats

_SNIFFED_BYTES = 4096


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file.

    Raises:
        InvalidInput: it is not there, or a line cannot be read; names file and line.

    """
    try:
        with path.open("rb") as handle:
            head = handle.read(_SNIFFED_BYTES)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    name, arguments = _format_of(path, head)
    plugin = plugins.load(formats, name)
    try:
        rows: list[dict[str, Any]] = plugin.build(plugin.Params(**arguments)).read(path)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: {error.reason}.") from error
    if not rows:
        raise InvalidInput(f"{path} has no rows.")
    return rows


def _format_of(path: Path, head: bytes) -> tuple[str, dict[str, Any]]:
    if path.suffix.lower() in (".csv", ".tsv"):
        return "table", {"delimiter": "\t" if path.suffix.lower() == ".tsv" else ","}
    return ("chat_array" if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" else "chat"), {}
