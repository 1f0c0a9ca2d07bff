"""Where data lie: a file, standard input or a URL, packed or not -> one stream of plain bytes.

Everything is streamed: what is packed is never unpacked as a whole. Display names carry no secrets.
"""

import gzip
import io
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from selftune.core.errors import InvalidInput, MissingExtra

STANDARD_INPUT = "-"
DATASET_PREFIX = "hf:"
"""`hf:owner/name` is a data set of the Hugging Face Hub; `hf://…` is a file there."""
HEAD_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20
_PACKED_SUFFIXES = (".gz", ".zst")
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_FEED_BYTES = 1 << 10
"""At most 256 blocks of 128 KiB come out of so many bytes: 32 MiB, whatever was packed."""
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
        self._counted: _Counted | None = None
        self._is_packed = False

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
        head = _beginning(self._opened)
        self._opened = _buffered(_Joined(head, self._opened))
        return head

    @property
    def stream(self) -> BinaryIO:
        """The unpacked bytes, from the first that was not read yet."""
        return self._opened

    @property
    def position(self) -> int:
        """How many bytes were read, as they are stored."""
        return self._counted.count if self._counted is not None else 0

    @cached_property
    def size(self) -> int | None:
        """How many bytes are stored; None where nobody knows."""
        if self.location == STANDARD_INPUT or self.is_url or self.is_dataset:
            return None
        return Path(self.location).stat().st_size

    @property
    def plain_path(self) -> Path | None:
        """The path that holds the very bytes of the stream, where there is one."""
        stream = self.stream
        del stream  # opening it tells whether it is packed
        is_file = self.size is not None and Path(self.location).is_file()
        return Path(self.location) if is_file and not self._is_packed else None

    def seekable(self) -> BinaryIO:
        """Return the unpacked bytes as a file that can be read in any order."""
        stream, path = self.stream, self.plain_path
        if path is not None:
            return self._closing.enter_context(path.open("rb"))
        copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the source
        self._closing.enter_context(copy)
        shutil.copyfileobj(stream, copy, _BUFFER_BYTES)
        copy.seek(0)
        return cast(BinaryIO, copy)

    @cached_property
    def _opened(self) -> BinaryIO:
        with _plain_errors(self.name):
            raw = self._raw()
            self._counted = _Counted(raw, self.name)
            packed = _buffered(self._counted)
            magic = packed.read(len(_ZSTD_MAGIC))
            whole = _buffered(_Joined(magic, packed))
        self._is_packed = magic.startswith(_GZIP_MAGIC) or magic == _ZSTD_MAGIC
        if magic.startswith(_GZIP_MAGIC):
            return _buffered(_Counted(gzip.GzipFile(fileobj=whole), self.name))
        if magic == _ZSTD_MAGIC:
            return _buffered(_Counted(_Unzst(whole), self.name))
        return whole

    def _raw(self) -> IO[bytes]:
        if self.location == STANDARD_INPUT:
            return sys.stdin.buffer
        if not self.is_url:
            return self._closing.enter_context(Path(self.location).open("rb"))
        return self._closing.enter_context(_open_url(self.location))


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


class _Counted(io.RawIOBase):
    """Counts what is read, and says in plain words what keeps it from being read."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name, self.count = inner, name, 0
        # What stands before a fault is not lost where one read is one read of the inner stream.
        self._read = getattr(inner, "read1", inner.read)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        with _plain_errors(self._name):
            data = self._read(len(target))
            if not data and getattr(self._inner, "length", None):
                raise EOFError  # HTTP said that more would come
        target[: len(data)] = data
        self.count += len(data)
        return len(data)


class _Joined(io.RawIOBase):
    """Bytes that were read already, then the stream that they came from."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._head[: len(target)] or self._rest.read(len(target))
        self._head = self._head[len(data) :]
        target[: len(data)] = data
        return len(data)


class _Unzst:
    """Unpacks Zstandard, frame after frame; knows when the last one is not complete."""

    def __init__(self, packed: BinaryIO) -> None:
        import zstandard

        self._packed = packed
        self._unpacker: Callable[[], Any] = zstandard.ZstdDecompressor(
            max_window_size=1 << 27  # the largest that needs no consent, as in the zstd command
        ).decompressobj
        self._frame: Any = None
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._ready:
            fed = self._packed.read(_ZSTD_FEED_BYTES)
            if not fed:
                if self._frame is not None:
                    raise EOFError
                return b""
            self._ready = memoryview(b"".join(self._unpacked(fed)))
        data = bytes(self._ready[:size])
        self._ready = self._ready[size:]
        return data

    def _unpacked(self, fed: bytes) -> Iterator[bytes]:
        while fed:
            if self._frame is None:
                self._frame = self._unpacker()
            yield self._frame.decompress(fed)
            if not self._frame.eof:
                return
            fed, self._frame = self._frame.unused_data, None


def _beginning(stream: BinaryIO) -> bytes:
    """Return the first bytes; fewer where reading further fails, which reading on will tell."""
    head = b""
    while len(head) < HEAD_BYTES:
        try:
            more = stream.read1(HEAD_BYTES - len(head))  # type: ignore[attr-defined]
        except InvalidInput:
            if not head:
                raise
            break
        if not more:
            break
        head += more
    return head


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(raw, _BUFFER_BYTES))


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


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """Turn what a library says about bytes into what to do. Its own words may show secrets."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = f" A data set of the Hugging Face Hub is written {DATASET_PREFIX}{name}."
        known = hint if _HUB_NAME.match(name) else ""
        raise InvalidInput(f"{name} cannot be read: it is not there.{known}") from error
    except EOFError as error:
        raise InvalidInput(
            f"{name} ends before its end: copy or download it again.",
            code="file-cut-short",
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(f"{name} is damaged: {error}. Copy or download it again.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidInput(f"{name} cannot be read: {reason}.") from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":  # imported only where there is such a file
            raise InvalidInput(f"{name} is damaged: {error}. Copy or download it again.") from error
        if isinstance(error, ValueError) and _URL.match(name):
            raise InvalidInput(f"{name} is at no place that fsspec knows.") from error
        raise
