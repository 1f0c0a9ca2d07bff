"""Where data lie: a file, standard input or a URL, packed or not -> one stream of plain bytes.

Everything is streamed: what is packed is never unpacked as a whole. Display names carry no secrets.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.data.sources.streams import BUFFER_BYTES, Unpacked, beginning, joined, plain_errors

STANDARD_INPUT = "-"
DATASET_PREFIX = "hf:"
"""`hf:owner/name` is a data set of the Hugging Face Hub; `hf://…` is a file there."""
HEAD_BYTES = 1 << 16
_PACKED_SUFFIXES = (".gz", ".zst")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*(::[a-z0-9+.-]+)*://", re.IGNORECASE)
_HUB_NAME = re.compile(r"[\w-]+/[\w-]+$")
_URL_TIMEOUT_SECONDS = 60


class Source:
    """One place that rows come from. Nothing is opened before it is asked for."""

    def __init__(self, location: str, closing: ExitStack) -> None:
        self.location = location
        """As it was given; may carry credentials. `name` is what to show."""
        self.name = display_name(location)
        self._closing = closing
        self._stream: BinaryIO | None = None

    @property
    def is_url(self) -> bool:
        """Whether the bytes come over fsspec or HTTP."""
        return _URL.match(self.location) is not None

    @property
    def is_dataset(self) -> bool:
        """Whether it names a data set, not a stream of bytes: `hf:…`, or a folder."""
        is_on_hub = self.location.startswith(DATASET_PREFIX) and not self.is_url
        return is_on_hub or self.is_folder

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of this machine."""
        if self.location == STANDARD_INPUT or self.is_url:
            return False
        return Path(self.location).is_dir()

    @property
    def suffix(self) -> str:
        """The last part of the name, lower case, without `.gz` and `.zst`: `.csv`, or nothing."""
        suffixes = [suffix.lower() for suffix in PurePosixPath(self.name).suffixes]
        return next((s for s in reversed(suffixes) if s not in _PACKED_SUFFIXES), "")

    @cached_property
    def head(self) -> bytes:
        """The first bytes, unpacked; the stream still begins with them."""
        if self.is_dataset:
            return b""
        head = beginning(self.stream, HEAD_BYTES)
        self._stream = joined(head, self.stream)
        return head

    @property
    def stream(self) -> BinaryIO:
        """The unpacked bytes, from the first that was not read yet."""
        if self._stream is None:
            self._stream = self._unpacked.stream
        return self._stream

    @property
    def position(self) -> int:
        """How many bytes were read, as they are stored."""
        return self._unpacked.position if self._stream is not None else 0

    @cached_property
    def size(self) -> int | None:
        """How many bytes are stored; None where nobody knows."""
        path = self._path
        return path.stat().st_size if path is not None else None

    @property
    def plain_path(self) -> Path | None:
        """The path that holds the very bytes of the stream, where there is one."""
        return None if self._unpacked.is_packed else self._path

    def seekable(self) -> BinaryIO:
        """Return the unpacked bytes as a file that can be read in any order."""
        path = self.plain_path
        if path is not None:
            return self._closing.enter_context(path.open("rb"))
        copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the source
        self._closing.enter_context(copy)
        shutil.copyfileobj(self.stream, copy, BUFFER_BYTES)
        copy.seek(0)
        return cast(BinaryIO, copy)

    @property
    def _path(self) -> Path | None:
        """The file of this machine that it is, if it is one."""
        if self.location == STANDARD_INPUT or self.is_url:
            return None
        return Path(self.location) if Path(self.location).is_file() else None

    @cached_property
    def _unpacked(self) -> Unpacked:
        with plain_errors(self.name):
            return Unpacked(self._raw(), self.name)

    def _raw(self) -> IO[bytes]:
        if self.location == STANDARD_INPUT:
            return sys.stdin.buffer
        if self.is_url:
            return self._closing.enter_context(_open_url(self.location))
        if _HUB_NAME.match(self.location) and not Path(self.location).exists():
            raise InvalidInput(
                f"{self.name} cannot be read: it is not there. A data set of the Hugging Face Hub "
                f"is written {DATASET_PREFIX}{self.name}."
            )
        return self._closing.enter_context(Path(self.location).open("rb"))


@contextmanager
def open_source(source: str | Path) -> Iterator[Source]:
    """Give a source; what it opened is closed when the block ends.

    Reading raises InvalidInput where the bytes are not there, or end before their end.
    """
    if not str(source):
        raise InvalidInput("The source has no name. Give a file, a folder, a URL, or -.")
    with ExitStack() as closing:
        yield Source(str(source), closing)


def located(folder: Path, location: str) -> str:
    """Return where a source is that is named in a file of a folder: paths are relative to it."""
    if location.startswith(DATASET_PREFIX) or _URL.match(location):
        return location
    return str(folder / location)


def display_name(location: str) -> str:
    """Return what to call a place: without user, password, query and fragment of a URL."""
    if location == STANDARD_INPUT:
        return "standard input"
    if _URL.match(location) is None:
        return location
    return re.sub(r"//[^/@]*@", "//", re.sub(r"[?#].*", "", location))


def _open_url(url: str) -> Any:
    if url.lower().startswith(("http://", "https://")):
        import urllib.request

        return urllib.request.urlopen(url, timeout=_URL_TIMEOUT_SECONDS)
    import fsspec

    try:
        return fsspec.open(url, "rb").open()
    except ImportError as error:
        raise MissingExtra(
            f"{display_name(url)} needs the {error.name or 'right'!r} package: install it with pip."
        ) from error
    except ValueError as error:
        raise InvalidInput(f"{display_name(url)} is at no place that fsspec knows.") from error
