"""Preferences: OpenAI's `input`, `preferred_output`, `non_preferred_output`; reads `chosen` too.

`{"prompt", "chosen", "rejected"}` is how most open preference sets are written, with texts or with lists
of messages, where the prompt may stand at the beginning of both answers instead.
"""

from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row, kind_of
from selftune.data.sources.openai_rows import ordered_preference


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Preference":
    """Make the format."""
    del params
    return Preference()


class Preference:
    """Rows with a better and a worse answer."""

    def recognizes(self, row: Row) -> bool:
        return kind_of(row) == "preference" or _is_chosen(row)

    def read(self, row: Row) -> Row:
        if not _is_chosen(row):
            return row
        prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
        if prompt is None:
            prompt = chosen[:-1] if isinstance(chosen, list) else ""
        return {
            "input": {"messages": _messages("prompt", prompt, "user")},
            "preferred_output": _messages("chosen", chosen, "assistant")[-1:],
            "non_preferred_output": _messages("rejected", rejected, "assistant")[-1:],
        }

    def write(self, row: Row) -> Row:
        if kind_of(row) != "preference":
            raise InvalidInput("has not two answers of which one is preferred")
        return ordered_preference(row)


def _is_chosen(row: Row) -> bool:
    return kind_of(row) == "fields" and "chosen" in row and "rejected" in row


def _messages(name: str, value: Any, role: str) -> list[Any]:
    if isinstance(value, str) and value:
        return [{"role": role, "content": value}]
    if isinstance(value, list) and value:
        return value
    raise InvalidInput(f"has no text and no messages in {name!r}")
