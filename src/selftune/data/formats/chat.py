"""OpenAI's chats: `{"messages": [...]}` that end with the assistant."""

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row, fields_of, kind_of
from selftune.data.sources.openai_rows import ordered_chat


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Chat":
    """Make the format."""
    del params
    return Chat()


class Chat:
    """Rows that teach answers."""

    def recognizes(self, row: Row) -> bool:
        return kind_of(row) == "chat"

    def read(self, row: Row) -> Row:
        return row

    def write(self, row: Row) -> Row:
        kind = kind_of(row)
        if kind in ("fields", "item"):
            names = ", ".join(map(str, fields_of(row)))
            raise InvalidInput(
                f"has no messages, but the fields {names}: make messages of them with --user and "
                "--assistant"
            )
        if kind == "preference":
            raise InvalidInput("has two answers of which one is preferred, not one answer")
        return ordered_chat(row)
