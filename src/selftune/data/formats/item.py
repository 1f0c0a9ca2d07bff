"""Items of an evaluation: `{"item": {...}}`."""

from selftune.core.records import Record
from selftune.data.rows import Row, fields_of


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Item":
    """Make the format."""
    del params
    return Item()


class Item:
    """Rows that are asked and judged by their fields."""

    def recognizes(self, row: Row) -> bool:
        return isinstance(row.get("item"), dict)

    def read(self, row: Row) -> Row:
        return row

    def write(self, row: Row) -> Row:
        return row if self.recognizes(row) else {"item": fields_of(row)}
