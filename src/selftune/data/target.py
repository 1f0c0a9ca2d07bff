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
    if target == STANDARD_OUTPUT:
        with tempfile.TemporaryFile() as kept:
            yield cast(BinaryIO, kept)
            kept.seek(0)
            shutil.copyfileobj(kept, sys.stdout.buffer, _COPIED_BYTES)
            sys.stdout.buffer.flush()
        return
    path = Path(target)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            with _packed(file, path.suffix.lower()) as packed:
                yield packed
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _packed(file: BinaryIO, suffix: str) -> AbstractContextManager[BinaryIO]:
    """Return a file that packs what is written; the same bytes every time, without name and date."""
    if suffix == ".gz":
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        return cast(AbstractContextManager[BinaryIO], io.BufferedWriter(packed))
    if suffix == ".zst":
        import zstandard

        writer = zstandard.ZstdCompressor().stream_writer(file, closefd=False)
        return cast(AbstractContextManager[BinaryIO], writer)
    return nullcontext(file)
