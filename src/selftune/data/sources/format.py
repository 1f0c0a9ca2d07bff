"""What a format is: the shape of one row. One file each in `formats/`."""

from typing import Protocol

from selftune.core import plugins
from selftune.data import formats
from selftune.data.rows import Row

FALLBACK = "fields"
"""What a row is that has no other shape."""


class Format(Protocol):
    """Turns rows into OpenAI's shape and back."""

    def recognizes(self, row: Row) -> bool:
        """Return whether a row has this shape, by its keys; no two built-in formats both say so."""

    def read(self, row: Row) -> Row:
        """Return a row in OpenAI's shape.

        Raises:
            InvalidInput: it has not this shape; says what it has, as the end of "The row …".

        """

    def write(self, row: Row) -> Row:
        """Return a row of OpenAI's shape in this one.

        Raises:
            InvalidInput: this shape cannot hold it; says why.

        """


def load_format(name: str) -> Format:
    """Return a format by its name."""
    plugin = plugins.load(formats, name)
    shape: Format = plugin.build(plugin.Params())
    return shape


def format_of(row: Row) -> str:
    """Return the name of the format that recognises a row."""
    names = (name for name in plugins.available(formats) if name != FALLBACK)
    return next((name for name in names if load_format(name).recognizes(row)), FALLBACK)
