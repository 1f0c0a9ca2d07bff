"""Errors of the disk, as Python's own: libraries written in Rust tell them in words only."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBER = re.compile(r"\(os error (\d+)\)")
"""As Rust's `std::io::Error` writes the system's number."""


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Raise an `OSError` where safetensors or a tokenizer could not write; its number says why."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        found = _NUMBER.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
