"""OpenAI's prompts for reinforcement: `{"messages": [...]}` that end with the user, and more keys."""

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row, kind_of
from selftune.data.sources.openai_rows import ordered_chat


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Prompt":
    """Make the format."""
    del params
    return Prompt()


class Prompt:
    """Rows that graders judge the answers to."""

    def recognizes(self, row: Row) -> bool:
        return kind_of(row) == "prompt"

    def read(self, row: Row) -> Row:
        return row

    def write(self, row: Row) -> Row:
        if kind_of(row) != "prompt":
            raise InvalidInput("does not end with a question: its answer would be lost")
        return ordered_chat(row)
