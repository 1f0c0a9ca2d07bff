"""Rows out of bytes: every row, every fault, each at its line."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.data.rows import Line
from selftune.data.sources.container import container_of, load_container
from selftune.data.sources.json_rows import MAX_BYTES, MAX_DEPTH
from selftune.data.sources.source import open_source

Read = Callable[..., list[Line]]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=5)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    path = tmp_path_factory.mktemp("data")

    def lines(data: bytes, name: str = "rows", container: str | None = None) -> list[Line]:
        (path / name).write_bytes(data)
        with open_source(path / name) as source:
            return list(load_container(container or container_of(source)).lines(source))

    return lines


def told(lines: list[Line]) -> list[tuple[int, Any]]:
    """Return what each line is: its row, or the rule that it breaks and the line of the breach."""
    return [
        (line.number, line.row if line.problem is None else (line.problem.rule, line.problem.line))
        for line in lines
    ]


@given(ROWS, st.sampled_from([None, 1, 2]))
@settings(max_examples=75, deadline=None)
def test_json_comes_out_as_it_went_in_with_its_lines(
    read: Read, rows: list[dict[str, Any]], indent: int | None
) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert told(read(lines, container="jsonl")) == list(enumerate(rows, start=1))
    array = json.dumps(rows, indent=indent, ensure_ascii=False)
    found = read(array.encode(), container="json_array")
    assert [line.row for line in found] == rows
    for line, row in zip(found, rows, strict=True):
        assert row is not None
        assert "{" in array.split("\n")[line.number - 1]


@given(st.binary(max_size=200))
@example(b'[{"a": "\\')
@example(b'[{"a": "b\\\n"}, {}]')
@example(b"[" * 1000)
@example(b"]{}[,")
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_a_reader_of_text(read: Read, data: bytes) -> None:
    for name in ("jsonl", "json_array", "table", "literal"):
        try:
            lines = read(data, container=name)
        except InvalidInput:
            continue
        for line in lines:
            assert (line.row is None) == (line.problem is not None)
            assert 1 <= line.number <= data.count(b"\n") + data.count(b"\r") + 1


@given(st.lists(st.sampled_from(list('[]{},":\\\n ab1')), max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_an_array_is_read_where_json_reads_it(read: Read, text: str) -> None:
    try:
        rows = json.loads("[" + text)
    except ValueError:
        rows = None
    found = read(b"[" + text.encode(), container="json_array")
    if isinstance(rows, list):
        kept = [row for row in rows if isinstance(row, dict)]
        assert [line.row for line in found if line.row is not None] == kept
        assert len(found) == len(rows)
    else:
        assert any(line.problem is not None for line in found)


DEEP = b'{"a": ' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        (b"{", "line-not-json", "not valid JSON"),
        (b'{"a": 1,}', "line-not-json", "column"),
        (b"{'a': 1}", "line-not-json", "looks like Python"),
        (b'{"a": 1} {"b": 2}', "line-not-json", "Extra data"),
        (b'{"a": "\\ud800"}', "line-not-json", "not valid JSON"),
        (b'{"a": "\x00"}', "line-not-json", "control character"),
        (b"\x00" * 50, "line-not-json", "not valid JSON"),
        (b'{"a": "\xe4"}', "line-not-utf8", "byte 8"),
        (b'{"a": NaN}', "number-not-json", "has NaN"),
        (b'{"a": -Infinity}', "number-not-json", "has -Infinity"),
        (b'{"a": 1e999}', "number-not-json", "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number-not-json", "digits|too large"),
        (b"[]", "row-not-object", "an array"),
        (b'"text"', "row-not-object", "a string"),
        (b"null", "row-not-object", "null"),
        (b"3", "row-not-object", "a number"),
        (DEEP, "line-too-deep", "too deeply"),
        (b"[" * 200_000, "line-too-deep|line-not-json", ""),
        (b'{"a":' * 200_000, "line-too-deep|line-not-json", ""),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_line_is_told_and_the_next_is_read(
    read: Read, text: bytes, rule: str, words: str
) -> None:
    found = read(b'{"n": 1}\n\n' + text + b'\n{"n": 2}', container="jsonl")
    assert [line.number for line in found] == [1, 3, 4]
    assert [line.row for line in found] == [{"n": 1}, None, {"n": 2}]
    fault = found[1].problem
    assert fault is not None
    assert re.fullmatch(rule, fault.rule)
    assert re.search(words, fault.message)
    assert fault.line == 3
    if text.count(b"[") < 100:
        array = read(b'[{"n": 1},\n\n' + text + b',\n{"n": 2}]', container="json_array")
        numbers = [line.number for line in array]
        assert numbers[:2] == [1, 3]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"a" : 1, "a" : 2}',
        b'{"b": {"a": "\\":", "c": 1,\t"a"\t: 2}, "a": 2}',
    ],
)
def test_a_repeated_key_is_a_warning_beside_the_row(read: Read, text: bytes) -> None:
    (line,) = read(text, container="jsonl")
    assert line.row is not None
    assert line.row["a"] == 2
    assert line.problem is not None
    assert line.problem.severity == "warning"
    assert "'a'" in line.problem.message


@given(st.dictionaries(st.sampled_from(['"', '":', "\\", '\\":', ' :"', "a"]), VALUES))
@settings(deadline=None)
def test_no_key_that_stands_once_is_told_as_repeated(read: Read, row: dict[str, Any]) -> None:
    for separators in ((",", ":"), (", ", " : ")):
        text = json.dumps(row, separators=separators).encode()
        assert told(read(text, container="jsonl")) == [(1, row)]


def test_a_large_number_stays_what_it_is(read: Read) -> None:
    (line,) = read(b'{"n": 123456789012345678901234567890, "x": -0.1}', container="jsonl")
    assert line.row == {"n": 123456789012345678901234567890, "x": -0.1}


def test_a_line_of_fifty_megabytes_is_read_and_a_longer_one_is_told(read: Read) -> None:
    long = b'{"a": "' + b"x" * 51_000_000 + b'\\n"}'
    assert MAX_BYTES > len(long) > 50_000_000
    for container, data in (("jsonl", long + b'\n{"n": 2}'), ("json_array", b"[%s,\n{}]" % long)):
        assert [line.number for line in read(data, container=container)] == [1, 2]
    too_long = b"[" + b" " * MAX_BYTES + b"]"
    assert told(read(too_long + b'\n{"n": 2}', container="jsonl")) == [
        (1, ("line-too-long", 1)),
        (2, {"n": 2}),
    ]
    assert told(read(b'[{},\n"' + b"x" * MAX_BYTES, container="json_array")) == [
        (1, {}),
        (2, ("line-too-long", 2)),
    ]


@pytest.mark.parametrize(
    ("array", "lines"),
    [
        (b"[]", []),
        (b" [ ] \n", []),
        (b'\xef\xbb\xbf\n[{"a": "]}"}]', [(2, {"a": "]}"})]),
        (b"[\n{},\n\n{}]", [(2, {}), (4, {})]),
        (b"[{},]", [(1, {}), (1, ("line-not-json", 1))]),
        (b"[\n,{}]", [(2, ("line-not-json", 2)), (2, {})]),
        (b"[{} {},\n{}]", [(1, ("line-not-json", 1)), (2, {})]),
        (b'[{"a": "b\n"},\n{}]', [(1, ("line-not-json", 1)), (3, {})]),
        (b'[\n{"a":\n\n x}]', [(2, ("line-not-json", 4))]),
        (b"[{},\n\n{", [(1, {}), (3, ("line-not-json", 3))]),
        (b"[", [(1, ("line-not-json", 1))]),
        (b"[{}]\n\n{}", [(1, {}), (3, ("line-not-json", 3))]),
        (b"{}\n{}", [(1, ("line-not-json", 1))]),
    ],
)
def test_an_array_is_read_element_by_element(read: Read, array: bytes, lines: Any) -> None:
    assert told(read(array, container="json_array")) == lines


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.sampled_from([",", "\t", ";"]))
@settings(deadline=None)
def test_a_table_comes_out_as_it_went_in(
    read: Read, cells: list[tuple[str, str]], delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *cells])
    found = read(text.getvalue().encode(), container="table")
    assert [line.row for line in found] == [{"text": a, "label": b} for a, b in cells]


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (b"a,b\n1,2\n", [(2, {"a": "1", "b": "2"})]),
        (b"\xef\xbb\xbfa;b\r\n1;2\r\n", [(2, {"a": "1", "b": "2"})]),
        (b'"a, b"\tc\n1\t2', [(2, {"a, b": "1", "c": "2"})]),
        (b'a,b\n"x\n\ny",2\n3,4\n', [(2, {"a": "x\n\ny", "b": "2"}), (5, {"a": "3", "b": "4"})]),
        (b"a,b\n\n1,2\n", [(3, {"a": "1", "b": "2"})]),
        (b",b\n1,2\n", [(2, {"column_1": "1", "b": "2"})]),
        (b"a,b\n1\n1,2,3\n1,2\n", [(2, "record-invalid"), (3, "record-invalid"), (4, {"a": "1", "b": "2"})]),
        (b'a,b\n"x"y,2\n3,4\n', [(2, "record-invalid"), (3, {"a": "3", "b": "4"})]),
        (b'a,b\n1,2\n"x,2\n3,4\n', [(2, {"a": "1", "b": "2"}), (3, "record-invalid")]),
        (b"a,b\n\xe4,2\n3,4\n", [(2, "line-not-utf8"), (3, {"a": "3", "b": "4"})]),
        (b"a,b\n", []),
        (b"", []),
    ],
)  # fmt: skip
def test_a_table_is_read_record_by_record(read: Read, table: bytes, lines: Any) -> None:
    found = read(table, container="table")
    said = [(x.number, x.problem.rule if x.problem is not None else x.row) for x in found]
    assert said == lines


@pytest.mark.parametrize(
    ("header", "words"),
    [(b"a,a\n", "names 'a' twice"), (b"a,\xe4\n", "not UTF-8"), (b'"a\n', "header cannot be read")],
)
def test_a_header_that_cannot_be_read_stops_a_table(read: Read, header: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(header, container="table")


LISTS = b'''"""Intents."""
from typing import Final

messages: Final = [
    "I lost my card",  # one
    'Where '
    "is it?",
]
labels = ["lost", 2]
unused = ["a", "b", "c"]
client = connect()
'''
PAIRS = [(4, {"message": "I lost my card", "label": "lost"}), (6, {"message": "Where is it?", "label": 2})]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (LISTS, [(5, PAIRS[0][1]), (6, PAIRS[1][1])]),
        (b"data = {'a': 'x',\n 'b': 'y', 'b': 'z'}", [(1, {"message": "a", "label": "x"}), (2, {"message": "b", "label": "y"}), (2, {"message": "b", "label": "z"})]),
        (b"[('a', -1.5),\n ('b', None)]", [(1, {"message": "a", "label": -1.5}), (2, {"message": "b", "label": None})]),
        (b"rows = [{'text': 'a', 'tags': ('x', True)},\n{'text': 'b'}]", [(1, {"text": "a", "tags": ["x", True]}), (2, {"text": "b"})]),
        (b"a = [{'t': open('x')},\n{'t': f'{1}'},\n{'t': b'x'}, {1: 2}, {**x}, {'t': 1}]", [(1, "literal-invalid"), (2, "literal-invalid"), (3, "literal-invalid"), (3, "literal-invalid"), (3, "literal-invalid"), (3, {"t": 1})]),
        (b"x = [('a', 'b'),\n('a',)]", [(1, {"message": "a", "label": "b"}), (2, "literal-invalid")]),
        (b"messages = [\n'a", [(2, "literal-invalid")]),
        (b"messages = ['\xe4']", [(1, "line-not-utf8")]),
        (b"(" * 5000, [(1, "literal-invalid")]),
    ],
)  # fmt: skip
def test_python_literals_are_read_and_never_run(read: Read, text: bytes, rows: Any) -> None:
    found = read(text, container="literal")
    said = [(x.number, x.problem.rule if x.problem is not None else x.row) for x in found]
    assert said == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"messages = ['a', 'b']\nlabels = ['x']", "`messages` with 2 and `labels` with 1"),
        (b"import os", "no list and no mapping"),
        (b"a=[1,2]\nb=[1,2]\nc=[1]\nd=[2]", "no rows that could be told"),
        (b"x = " + b"-" * 100_000 + b"1", "nested too deeply"),
        (b"x = [" + b"'a'," * 4_100_000 + b"]", "longer than"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_literals_without_rows_say_what_there_is(read: Read, text: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(text, container="literal")


def test_reading_literals_runs_nothing(read: Read, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = f"import pathlib\nx = [pathlib.Path({str(mark)!r}).touch()]\ny = [1]\n".encode()
    read(text, container="literal")
    assert not mark.exists()
