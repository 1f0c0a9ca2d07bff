"""Files that are replaced whole or not at all: settings that commands write, rounds, reports."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from selftune.core.errors import Unavailable
from selftune.store.blobs import sync_folder


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file. Raises what `replacing` raises."""
    with replacing(path, durable=durable) as handle:
        handle.write(content)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Give what takes a file's new content; a block that fails leaves the old one.

    A reader sees the old one or the new one. What can be made again need not be `durable`: only then
    may a power cut take it.

    Raises:
        OSError: it cannot be written.

    """
    path = path.resolve()  # of a link, what it leads to is replaced
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("wb") as handle:
            yield handle
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        partial.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Have what a file says for this process alone while the block changes it; others wait.

    Raises:
        Unavailable: it cannot be written; says why.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_name(f".{path.name}.lock").open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise Unavailable(
            f"{str(path)!r} cannot be written: {error.strerror or error}. It is as it was before."
        ) from error
