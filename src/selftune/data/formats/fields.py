"""Rows of named fields, which a template makes chats of; without one they stay as they are."""

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import Template
from selftune.data.rows import Row, fields_of, kind_of
from selftune.data.sources.filling import filled_chat
from selftune.data.sources.openai_rows import split_turns


class Params(Record):
    """What the messages say."""

    template: Template | None = None


def build(params: Params) -> "Fields":
    """Make the format."""
    return Fields(params.template)


class Fields:
    """Rows of a table, or the items of an evaluation."""

    def __init__(self, template: Template | None) -> None:
        self._template = template

    def recognizes(self, row: Row) -> bool:
        return False  # it is what a row is that no other format recognises

    def read(self, row: Row) -> Row:
        if self._template is None:
            return row
        try:
            return filled_chat(row, self._template)
        except InvalidInput as error:
            raise InvalidInput(error.message, code="template-unfilled") from error

    def write(self, row: Row) -> Row:
        if kind_of(row) == "fields":
            return row
        if kind_of(row) == "item":
            return fields_of(row)
        system, turns = split_turns(row, "a row of fields")
        if len(turns) != 1:
            raise InvalidInput("has several turns, and a row of fields holds one question")
        question, answer = turns[0]
        return {"question": question, "answer": answer} | ({"system": system} if system else {})
