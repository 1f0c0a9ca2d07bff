"""Alpaca: `instruction`, `input`, `output`, and where they are known `system` and `history`.

The input follows the instruction after a blank line. Earlier turns are pairs in `history`.
"""

from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row
from selftune.data.sources.openai_rows import split_turns


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Alpaca":
    """Make the format."""
    del params
    return Alpaca()


class Alpaca:
    """Rows of one instruction and one output."""

    def recognizes(self, row: Row) -> bool:
        return "instruction" in row and "output" in row

    def read(self, row: Row) -> Row:
        instruction = _text(row, "instruction")
        given = _text(row, "input", default="")
        asked = "\n\n".join(text for text in (instruction, given) if text)
        system = _text(row, "system", default="")
        messages = [{"role": "system", "content": system}] if system else []
        for question, answer in [*_history(row), (asked, _text(row, "output"))]:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
        return {"messages": messages}

    def write(self, row: Row) -> Row:
        system, turns = split_turns(row, "Alpaca")
        question, answer = turns[-1]
        written: Row = {"instruction": question, "input": "", "output": answer}
        if system:
            written["system"] = system
        if len(turns) > 1:
            written["history"] = [list(turn) for turn in turns[:-1]]
        return written


def _text(row: Row, name: str, default: str | None = None) -> str:
    value = row.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InvalidInput(f"has no text in {name!r}")
    return value


def _history(row: Row) -> list[tuple[str, str]]:
    history: Any = row.get("history") or []
    is_pairs = isinstance(history, list) and all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)
        for turn in history
    )
    if not is_pairs:
        raise InvalidInput("has a history that is not a list of pairs of texts")
    return [(question, answer) for question, answer in history]
