"""Members of a zip archive that a stranger made: looked up by name, never unpacked to the disk."""

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from selftune.core.errors import InvalidInput, TooLarge
from selftune.evaluate.interchange.untrusted import MAX_BYTES, parse_json

_MOST_MEMBERS = 200_000
_MOST_MEMBER = 256 * 1024 * 1024
_MOST_ALL = 8 * MAX_BYTES
_ZSTD = 93  # the number that PKWARE's APPNOTE gives to Zstandard; zipfile of Python 3.11 lacks it
_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x1


class Archive:
    """An open archive of JSON files."""

    def __init__(self, path: Path) -> None:
        """Open it; raise `InvalidInput` where it is none, or has too many members."""
        self._path, self._read = path, 0
        if path.stat().st_size > MAX_BYTES:
            raise TooLarge(f"{path} is larger than {MAX_BYTES // 1024**2} MiB.")
        self._file: BinaryIO = path.open("rb")
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            self._file.close()
            raise InvalidInput(f"{path} is not a whole zip archive: {error}.") from error
        infos = self._zip.infolist()
        if len(infos) > _MOST_MEMBERS:
            self._file.close()
            raise TooLarge(f"{path} has more than {_MOST_MEMBERS:,} members.")
        self._infos = {info.filename: info for info in infos}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()
        self._file.close()

    @property
    def names(self) -> list[str]:
        """Return the members' names; no path of this machine is ever made of them."""
        return list(self._infos)

    def json(self, name: str) -> Any:
        """Return the JSON value of a member.

        Raises:
            InvalidInput: it is damaged, encrypted, packed in an unknown way, too large, or not JSON.

        """
        place = f"{self._path.name}: {name}"
        try:
            content = self._content(self._infos[name])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
            raise InvalidInput(f"{place} cannot be read: {error}.") from error
        except (zlib.error, EOFError, struct.error) as error:
            raise InvalidInput(f"{place} is damaged: {error}.") from error
        self._read += len(content)
        if len(content) > _MOST_MEMBER or self._read > _MOST_ALL:
            raise TooLarge(f"{place}: unpacked, it is larger than the limit allows.")
        try:
            return parse_json(content, place)
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{place} is not UTF-8.") from error

    def _content(self, info: zipfile.ZipInfo) -> bytes:
        """Return at most one byte more than the limit, whatever the archive says of the size."""
        if info.flag_bits & _ENCRYPTED:
            raise zipfile.BadZipFile("it is encrypted")
        if info.compress_type != _ZSTD:
            with self._zip.open(info) as member:
                return member.read(_MOST_MEMBER + 1)
        import zstandard

        self._file.seek(info.header_offset)
        header = _HEADER.unpack(self._file.read(_HEADER.size))
        self._file.seek(info.header_offset + _HEADER.size + header[9] + header[10])
        packed = self._file.read(info.compress_size)
        try:
            with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
                content: bytes = reader.read(_MOST_MEMBER + 1)
        except zstandard.ZstdError as error:
            raise zipfile.BadZipFile(str(error)) from error
        if len(content) <= _MOST_MEMBER and zlib.crc32(content) != info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
        return content
