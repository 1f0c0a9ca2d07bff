"""Streams of bytes that count, unpack, and say in plain words what keeps them from being read.

What is packed is unpacked as it is read, never as a whole: a bomb costs no memory.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any, BinaryIO, cast

from selftune.core.errors import InvalidInput

BUFFER_BYTES = 1 << 20
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_FEED_BYTES = 1 << 10
"""At most 256 blocks of 128 KiB come out of so many bytes: 32 MiB, whatever was packed."""
_ZSTD_WINDOW_BYTES = 1 << 27
"""The largest window that the zstd command unpacks unasked."""
_AGAIN = "Copy or download it again."


class Unpacked:
    """The plain bytes of a stream that may be packed."""

    def __init__(self, raw: IO[bytes], name: str) -> None:
        self._raw = _Counted(raw, name)
        stored = _buffered(self._raw)
        magic = stored.read(len(_ZSTD_MAGIC))
        whole = joined(magic, stored)
        inner: Any = None
        if magic.startswith(_GZIP_MAGIC):
            inner = gzip.GzipFile(fileobj=whole)
        elif magic == _ZSTD_MAGIC:
            inner = _Unzst(whole)
        self.is_packed = inner is not None
        self.stream = whole if inner is None else _buffered(_Counted(inner, name))

    @property
    def position(self) -> int:
        """How many bytes were read, as they are stored."""
        return self._raw.count


def joined(head: bytes, rest: BinaryIO) -> BinaryIO:
    """Return a stream of bytes that were read already, then of those that follow them."""
    return _buffered(_Joined(head, rest))


def beginning(stream: BinaryIO, size: int) -> bytes:
    """Return the first bytes; fewer where reading further fails, which reading on will tell."""
    head = b""
    while len(head) < size:
        try:
            more = stream.read1(size - len(head))  # type: ignore[attr-defined]
        except InvalidInput:
            if not head:
                raise
            break
        if not more:
            break
        head += more
    return head


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Turn what a library says about bytes into what to do. Its own words may show secrets.

    Raises:
        InvalidInput: the block failed to read the bytes of that name.

    """
    try:
        yield
    except FileNotFoundError as error:
        raise InvalidInput(f"{name} cannot be read: it is not there.") from error
    except EOFError as error:
        raise InvalidInput(
            f"{name} ends before its end: copy or download it again.", code="file-cut-short"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(f"{name} is damaged: {error}. {_AGAIN}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None)
        reason = reason or type(error).__name__
        raise InvalidInput(f"{name} cannot be read: {reason}.") from error


class _Counted(io.RawIOBase):
    """Counts what is read, and says in plain words what keeps it from being read."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name, self.count = inner, name, 0
        # What stands before a fault is not lost where one read is one read of the inner stream.
        self._read = getattr(inner, "read1", inner.read)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        with plain_errors(self._name):
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
        unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._new_frame: Callable[[], Any] = unpacker.decompressobj
        self._error = zstandard.ZstdError
        self._frame: Any = None
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._ready:
            fed = self._packed.read(_ZSTD_FEED_BYTES)
            if not fed and self._frame is not None:
                raise EOFError
            if not fed:
                return b""
            try:
                self._ready = memoryview(b"".join(self._unpacked(fed)))
            except self._error as error:
                raise zlib.error(str(error)) from error  # as gzip says it
        data = bytes(self._ready[:size])
        self._ready = self._ready[size:]
        return data

    def _unpacked(self, fed: bytes) -> Iterator[bytes]:
        while fed:
            if self._frame is None:
                self._frame = self._new_frame()
            yield self._frame.decompress(fed)
            if not self._frame.eof:
                return
            fed, self._frame = self._frame.unused_data, None


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(raw, BUFFER_BYTES))
