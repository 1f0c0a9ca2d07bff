"""Tables, literals and other people's formats that are broken: they are read before they are checked."""

import datetime
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.data.corpus.parts import ask, chat, lines, say

from selftune.core.runfile import Template
from selftune.data.read import ReadOptions


class BrokenSource(NamedTuple):
    """A file that `read_lines` reads, and the rules that its lines breach."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    expected: frozenset[tuple[str, int]]
    options: ReadOptions = ReadOptions()


def source(
    name: str,
    suffix: str,
    content: bytes | Callable[[], bytes],
    *expected: tuple[str, int],
    options: ReadOptions | None = None,
) -> BrokenSource:
    """Return a broken source."""
    make = content if callable(content) else (lambda: content)
    return BrokenSource(name, suffix, make, frozenset(expected), options or ReadOptions())


def parquet(**columns: list[Any]) -> Callable[[], bytes]:
    """Return what makes a Parquet file of columns."""

    def make() -> bytes:
        import pyarrow
        from pyarrow import parquet as files

        target = io.BytesIO()
        files.write_table(pyarrow.table(columns), target)
        return target.getvalue()

    return make


TEMPLATE = ReadOptions(template=Template(user="{{ question }}", assistant="{{ answer }}"))
ALPACA = {"instruction": "Find it.", "output": "Found."}
SHAREGPT = {"conversations": [{"from": "human", "value": "Hat?"}, {"from": "gpt", "value": "No."}]}

SOURCES = (
    source("a field too many", ".csv", b"question,answer\nHat?,No\nHat, red?,No\n", ("record-invalid", 3)),
    source("a field too few", ".tsv", b"question\tanswer\nHat?\n", ("record-invalid", 2)),
    source("text after a quote", ".csv", b'question,answer\n"Hat"s?,No\nGlove?,Yes\n', ("record-invalid", 2)),
    source("a table in Latin-1", ".csv", "question,answer\nHat?,Nö\n".encode("latin-1"), ("line-not-utf8", 2)),
    source("a call among literals", ".py", b"messages = ['a', open('b')]\nlabels = ['x', 'y']\n", ("literal-invalid", 1)),
    source("a set among literals", ".py", b"messages = [\n 'a',\n {'b'},\n]\nlabels = [1, 2]\n", ("literal-invalid", 3)),
    source("literals that do not end", ".py", b"messages = ['a',\nlabels = ['x'\n", ("literal-invalid", 2)),
    source("bytes in a column", ".parquet", parquet(question=["a", "b"], answer=[b"x", b"y"]), ("value-not-json", 1), ("value-not-json", 2)),
    source("durations in a column", ".parquet", parquet(question=["a"], time=[datetime.timedelta(1)]), ("value-not-json", 1)),
    source("Alpaca without an output", ".jsonl", lines([ALPACA, {"instruction": "Find it.", "output": None}]), ("shape-invalid", 2)),
    source("Alpaca with a strange history", ".jsonl", lines([ALPACA, ALPACA | {"history": "none"}]), ("shape-invalid", 2)),
    source("a turn from nobody", ".jsonl", lines([SHAREGPT, {"conversations": [{"value": "Hat?"}]}]), ("shape-invalid", 2)),
    source("a template without its field", ".csv", b"question,reply\nHat?,No\nGlove?,Yes\n", ("template-unfilled", 2), ("template-unfilled", 3), options=TEMPLATE),
    source("a row without the template's field", ".jsonl", lines([{"question": "a", "answer": "b"}, {"question": "a"}]), ("template-unfilled", 2), options=TEMPLATE),
    source("ShareGPT among Alpaca", ".jsonl", lines([ALPACA, SHAREGPT, ALPACA]), ("mixed-formats", 2)),
    source("Alpaca among ShareGPT", ".jsonl", lines([SHAREGPT, SHAREGPT, ALPACA]), ("mixed-formats", 3)),
    source("an array with a comma too many", ".json", b"[\n" + json.dumps(chat(ask(), say())).encode() + b",\n,\n{}]", ("line-not-json", 3)),
    source("an array that does not end", ".json", b'[{"a": 1},\n{"a": 2}', ("line-not-json", 2)),
    source("an array with something after it", ".json", b'[{"a": 1}]\n\n{"a": 2}\n', ("line-not-json", 3)),
    source("a number in an array", ".json", b'[{"a": 1},\n{"a": NaN}]', ("number-not-json", 2)),
    source("a string in an array", ".json", b'[{"a": 1},\n"b"]', ("row-not-object", 2)),
    source("an array nested deeply", ".json", b"[\n" + b"[" * 200_000 + b"]" * 200_000 + b"]", ("line-too-deep", 2)),
)  # fmt: skip

# What cannot be written in another format.
UNWRITABLE = (
    ("Alpaca", "alpaca", chat(ask(), say(), tools=[{"type": "function", "function": {"name": "find"}}])),
    ("a completion", "completion", chat(ask(), say(), ask("And gloves?"), say("No."))),
    ("preferences", "preference", chat(ask(), say())),
)  # fmt: skip
