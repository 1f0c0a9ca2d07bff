"""Whatever the bytes, problems come back, each at a line that exists; quick and slow paths agree."""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.data.corpus import tools
from tests.data.corpus.parts import ask, chat, dump, preference, say, system

from selftune.core.errors import InvalidInput
from selftune.data.check import CheckOptions, problems
from selftune.data.checking.block import Reader, block_of_lines
from selftune.data.checking.structure import Method, row_problems
from selftune.data.counting.lengths import tokenizer_of
from selftune.data.problems import Problem, problem
from selftune.data.sources.json_rows import parse_row

METHODS = st.sampled_from(["supervised", "dpo", "reinforcement"])

_JSON_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _JSON_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_JSON_TEXT, inner, max_size=4),
    max_leaves=12,
)
_WORDS = st.sampled_from(["", " ", "Hi", "Hi ", "\u3000", "é", '":', '\\":', "{}", '{"a": 1}', "x"])
_ROLE = st.sampled_from(
    ["system", "developer", "user", "assistant", "tool", "function", "User", ""]
)
_ARGUMENTS = _WORDS | st.none() | st.just('{"a": {"b": []}}') | _JSON
_IDS = st.sampled_from(["c1", "c2", "", None, 7])
_CALL = st.builds(tools.call, _IDS, st.sampled_from(["find", "sell", ""]), _ARGUMENTS)
_PART = st.sampled_from(
    [
        {"type": "text", "text": "Hi"},
        {"type": "text"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "image_url", "image_url": {"url": "b.png", "detail": "best"}},
        {"type": "refusal", "refusal": "No."},
        {"type": "input_audio"},
        "Hi",
        None,
    ]
)
_MESSAGE = st.fixed_dictionaries(
    {"role": _ROLE | _JSON, "content": _WORDS | st.lists(_PART, max_size=3) | _JSON},
    optional={
        "weight": st.sampled_from([0, 1, 0.0, 1.0, 2, True, "1", None]),
        "name": _WORDS | _JSON,
        "tool_calls": st.lists(_CALL, max_size=3) | _JSON,
        "tool_call_id": _IDS,
        "refusal": _WORDS,
        "function_call": _JSON,
        "odd": _JSON,
    },
)
_LIKELY = st.one_of(
    st.builds(ask, _WORDS),
    st.builds(say, _WORDS),
    st.builds(system, _WORDS),
    st.builds(lambda call: tools.calling(call), _CALL),
    st.builds(tools.result, _IDS),
    st.builds(lambda text, weight: say(text, weight=weight), _WORDS, st.sampled_from([0, 1])),
)
_ROW = st.fixed_dictionaries(
    {"messages": st.lists(_LIKELY | _MESSAGE, max_size=6) | _JSON},
    optional={
        "tools": st.lists(st.builds(tools.tool, st.sampled_from(["find", "sell", "a b"]))) | _JSON,
        "functions": st.lists(st.builds(dict, name=st.just("find"))) | _JSON,
        "parallel_tool_calls": st.booleans() | _JSON,
        "metadata": _JSON,
        "odd": _JSON,
    },
)
_LIKELY_ROW = st.builds(
    lambda messages, tooled, others: (
        {"messages": messages} | ({"tools": [tools.tool()]} if tooled else {}) | others
    ),
    st.lists(_LIKELY, max_size=6),
    st.booleans(),
    st.fixed_dictionaries({}, optional={"parallel_tool_calls": st.booleans()}),
)
_PREFERENCE = st.builds(
    preference,
    st.just(1),
    input=st.fixed_dictionaries({"messages": st.lists(_LIKELY, max_size=3)}) | _JSON,
    preferred_output=st.lists(_LIKELY, max_size=2) | _JSON,
    non_preferred_output=st.lists(_LIKELY, max_size=2) | _JSON,
)
ROWS = _LIKELY_ROW | _ROW | _PREFERENCE | _JSON
SEEDS = st.sampled_from(
    [
        chat(ask(), say()),
        tools.with_tools(ask(), tools.calling(tools.call()), tools.result(), say()),
        chat(ask(), say("a", weight=0), ask("b"), say("c", weight=1)),
        preference(3),
    ]
)


def slow(data: bytes, method: Method) -> list[Problem]:
    """Find what is wrong with lines, one by one."""
    found: list[Problem] = []
    lines = data.split(b"\n")
    for number, text in enumerate(lines if lines[-1] else lines[:-1], start=1):
        if not text or text.isspace():
            found.append(problem("line-blank", number))
            continue
        line = parse_row(text, number)
        found += [line.problem] if line.problem is not None else []
        found += [] if line.row is None else row_problems(line.row, number, method)
    return found


def quick(data: bytes, method: Method) -> list[Problem]:
    """Find what is wrong with lines, many at a time."""
    return block_of_lines(data, 1, Reader(method, tokenizer_of("gpt-4.1-mini")))[1]


def checked(data: bytes, method: Method | None, suffix: str = ".jsonl") -> list[Problem]:
    """Find what is wrong with a file, or that nothing knows how to read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows{suffix}"
        path.write_bytes(data)
        try:
            return list(problems(path, CheckOptions(method=method, processes=1)))
        except InvalidInput as error:
            words = error.message
        assert str(path) in words
        return []


def assert_explained(found: list[Problem], data: bytes) -> None:
    """Every problem has its words, its remedy, and a line that is there."""
    for one in found:
        assert one.remedy
        assert one.message
        assert one.line is None or 1 <= one.line <= data.count(b"\n") + 1
        one.model_dump_json().encode()


def in_order(found: list[Problem]) -> list[str]:
    """Return problems so that they can be compared."""
    return sorted(one.model_dump_json() for one in found)


@settings(max_examples=200, deadline=None)
@given(st.lists(ROWS, max_size=4), METHODS)
def test_the_quick_path_finds_what_the_slow_path_finds(rows: list[Any], method: Method) -> None:
    data = b"".join(dump(row) + b"\n" for row in rows)
    assert in_order(quick(data, method)) == in_order(slow(data, method))


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.data())
def test_the_paths_agree_on_rows_of_which_bytes_were_changed(
    seed: Any, data: st.DataObject
) -> None:
    text = bytearray(dump(seed))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        with_what = data.draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"}", b":", b'" :', b"0"])
        )
        text[at : at + data.draw(st.integers(0, 12))] = with_what
        text = text or bytearray(b"{")
    assert in_order(quick(bytes(text), "supervised")) == in_order(slow(bytes(text), "supervised"))


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b"\x1f\x8b\x08")
@example(b"PK\x03\x04")
@example(b"PAR1")
@example(b"\n" * 50)
@example(b'"' * 33)
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"1" * 100_000)
@example(b"-")
@example(b'{"messages":[{"role":"user","content":"\\udc00"}]}')
def test_arbitrary_bytes_as_a_row_are_explained(text: bytes) -> None:
    line = parse_row(text, 3)
    assert line.row is not None or line.problem is not None
    if line.problem is not None:
        assert line.problem.line is not None
        assert line.problem.line >= 3
        assert line.problem.remedy


@settings(max_examples=200)
@given(ROWS, METHODS)
def test_a_row_is_explained_in_short_words(row: Any, method: Method) -> None:
    for found in row_problems(row, 5, method):
        assert found.line == 5
        assert found.remedy
        assert len(found.message) < 500
        assert found.message_index is None or found.message_index >= 1


@pytest.mark.parametrize("text", [b'{"a" : 1, "a": 2}', b'{"a"\t:1,"a"\n:2}', b'{"a":1,"a":2}'])
def test_a_key_that_stands_twice_is_found_however_it_is_spaced(text: bytes) -> None:
    found = parse_row(text, 1).problem
    assert found is not None
    assert found.rule == "duplicate-key"
    assert json.loads(text) == {"a": 2}


@pytest.mark.parametrize("space", ["", " ", "  ", "\t", "\r", " \t "])
@pytest.mark.parametrize("seed", [chat(ask(), say()), tools.with_tools(ask(), say())])
def test_a_role_that_stands_twice_is_found_on_the_quick_path(seed: Any, space: str) -> None:
    twice = f'"role"{space}: "user", "role": "user"'
    data = dump(seed).replace(b'"role": "user"', twice.encode()) + b"\n"
    assert [found.rule for found in quick(data, "supervised")] == ["duplicate-key"]


SUFFIXES = st.sampled_from([".jsonl", ".json", ".csv", ".py", ".parquet", ""])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), METHODS | st.none(), SUFFIXES)
@example(b'{"messages":[{"role":"user","content":"\\udc00"}]}', None, ".jsonl")
@example(b"PAR1" * 3, None, ".parquet")
@example(b"\x1f\x8b\x08\x00" + b"\x00" * 20, None, ".jsonl")
@example(b"\x28\xb5\x2f\xfd" + b"\x00" * 20, None, ".jsonl")
@example(b"ARROW1\x00\x00" * 3, None, ".arrow")
def test_arbitrary_bytes_as_a_file_are_explained(
    data: bytes, method: Method | None, suffix: str
) -> None:
    assert_explained(checked(data, method, suffix), data)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS | st.binary(max_size=20), max_size=12), METHODS | st.none(), st.booleans())
def test_arbitrary_rows_as_a_file_are_explained(
    rows: list[Any], method: Method | None, is_packed: bool
) -> None:
    data = b"".join(dump(row) + b"\n" for row in rows)
    assert_explained(checked(gzip.compress(data) if is_packed else data, method), data)


@settings(max_examples=100, deadline=None)
@given(st.lists(SEEDS, min_size=1, max_size=4), st.data())
def test_a_good_file_with_changed_bytes_is_explained(rows: list[Any], data: st.DataObject) -> None:
    text = bytearray(b"".join(dump(row) + b"\n" for row in rows))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(text) - 1)))
        text[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=6))
    assert_explained(checked(bytes(text), None), bytes(text))
    packed = bytearray(gzip.compress(bytes(text), mtime=0))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    checked(bytes(packed), None)
