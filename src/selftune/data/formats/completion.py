"""Pairs of OpenAI's old completion models: `{"prompt": ..., "completion": ...}`, read as chats.

The texts stay as they are: separators at the end of a prompt and the blank before a completion were
part of what those models learned.
"""

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row
from selftune.data.sources.openai_rows import split_turns


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Completion":
    """Make the format."""
    del params
    return Completion()


class Completion:
    """Rows of one question and one answer."""

    def recognizes(self, row: Row) -> bool:
        return "prompt" in row and "completion" in row and "messages" not in row

    def read(self, row: Row) -> Row:
        prompt, completion = row.get("prompt"), row.get("completion")
        if isinstance(prompt, list) and isinstance(completion, list):
            return {"messages": [*prompt, *completion]}
        for name, text in (("prompt", prompt), ("completion", completion)):
            if not isinstance(text, str):
                raise InvalidInput(f"has no text in {name!r}")
        return {
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": completion},
            ]
        }

    def write(self, row: Row) -> Row:
        system, turns = split_turns(row, "a completion")
        if system is not None or len(turns) != 1:
            what = "a system message" if system is not None else "several turns"
            raise InvalidInput(f"has {what}, which a completion cannot hold")
        return {"prompt": turns[0][0], "completion": turns[0][1]}
