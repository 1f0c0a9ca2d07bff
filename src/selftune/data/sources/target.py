"""Where rows are written to: a file that is complete or not there, packed by its name, or `-`."""

import gzip
import io
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from selftune.core.errors import InvalidInput

STANDARD_OUTPUT = "-"
_COPIED_BYTES = 1 << 20


def target_suffix(target: str) -> str:
    """Return how a name ends, lower case and without `.gz` and `.zst`: `.csv`, or nothing."""
    path = Path(target.lower())
    return Path(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix


@contextmanager
def open_target(target: str) -> Iterator[BinaryIO]:
    """Give a file whose bytes appear under the target's name, all at once, when the block ends well.

    Raises:
        InvalidInput: it cannot be written there.

    """
    if "://" in target:
        raise InvalidInput(f"{target} is not on this machine: write a file, and copy it there.")
    path = Path(target).resolve()  # a link stays a link
    if target == STANDARD_OUTPUT:
        opened = _copied(nullcontext(sys.stdout.buffer), "")
    elif path.is_dir() or not target:
        raise InvalidInput(f"{target!r} is a folder: give the name of a file.")
    elif path.exists() and not path.is_file():  # a device or a pipe, which must keep its place
        opened = _copied(path.open("wb"), path.suffix)
    else:
        opened = whole_file(path)
    try:
        with opened as file:
            yield file
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror}.") from error


@contextmanager
def _copied(opened: AbstractContextManager[BinaryIO], suffix: str) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as kept:
        with _packed(cast(BinaryIO, kept), suffix) as packed:
            yield packed
        kept.seek(0)
        with opened as target:
            shutil.copyfileobj(kept, target, _COPIED_BYTES)
            target.flush()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that appears under its path, packed by its name, when the block ends well."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            with _packed(file, path.suffix) as packed:
                yield packed
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _packed(file: BinaryIO, suffix: str) -> AbstractContextManager[BinaryIO]:
    """Return a file that packs what is written; the same bytes every time, without name and date."""
    if suffix.lower() == ".gz":
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        return cast(AbstractContextManager[BinaryIO], io.BufferedWriter(packed))
    if suffix.lower() == ".zst":
        import zstandard

        writer = zstandard.ZstdCompressor().stream_writer(file, closefd=False)
        return cast(AbstractContextManager[BinaryIO], writer)
    return nullcontext(file)
