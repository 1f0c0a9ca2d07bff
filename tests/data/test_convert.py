"""From any source to OpenAI's JSONL and back, with the same bytes every time."""

import gzip
import io
import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from selftune.core.errors import BadRows, InvalidInput
from selftune.core.runfile import Template
from selftune.data.convert import Converted, convert
from selftune.data.read import ReadOptions, read_rows

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CHATS = st.lists(
    st.tuples(TEXTS, TEXTS).map(
        lambda pair: {
            "messages": [
                {"role": "user", "content": pair[0]},
                {"role": "assistant", "content": pair[1]},
            ]
        }
    ),
    min_size=1,
    max_size=4,
)
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Wie heißt \u2028 das?"},
        {"role": "assistant", "content": "So: “x”."},
    ]
}
LINE = '{"messages": [{"role": "user", "content": "Wie heißt \u2028 das?"}, {"role": "assistant", "content": "So: “x”."}]}\n'


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_chats_are_written_as_openai_writes_them(tmp_path: Path) -> None:
    turned = [dict(reversed(message.items())) for message in CHAT["messages"]]
    source = written(tmp_path / "in.jsonl", {"messages": turned})
    target = tmp_path / "out.jsonl"
    done = convert(source, target)
    assert done == Converted(
        source=str(source), target=str(target), container="jsonl", rows=1, skipped=0
    )
    assert target.read_text(encoding="utf-8") == LINE
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(source.stat().st_mode)


ROUNDS = [
    ("", "json"),
    ("", "jsonl.gz"),
    ("", "jsonl.zst"),
    ("", "parquet"),
    ("", "arrow"),
    ("sharegpt", "jsonl"),
    ("alpaca", "json.gz"),
    ("completion", "csv"),
    ("completion", "tsv"),
    ("completion", "parquet"),
]


@pytest.mark.parametrize(("to", "suffix"), ROUNDS)
@given(CHATS)
@settings(max_examples=25, deadline=None)
def test_there_and_back_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, to: str, suffix: str, chats: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    source = written(folder / "in.jsonl", *chats)
    convert(source, folder / "first.jsonl")
    for name in ("one", "two"):
        convert(folder / "first.jsonl", folder / f"{name}.{suffix}", to=to or None)
    assert (folder / f"one.{suffix}").read_bytes() == (folder / f"two.{suffix}").read_bytes()
    convert(folder / f"one.{suffix}", folder / "back.jsonl")
    assert (folder / "back.jsonl").read_bytes() == (folder / "first.jsonl").read_bytes()


def test_calls_of_tools_survive_columns(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    calling = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "1", "tool_call_id": "c"},
            {"role": "assistant", "content": "b", "weight": 0},
        ],
        "tools": [tool],
        "parallel_tool_calls": False,
    }
    first = tmp_path / "first.jsonl"
    convert(written(tmp_path / "in.jsonl", CHAT, calling, CHAT), first)
    convert(first, tmp_path / "rows.parquet")
    convert(tmp_path / "rows.parquet", tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_bytes() == first.read_bytes()


def test_packed_targets_carry_neither_name_nor_date(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", CHAT)
    convert(source, tmp_path / "a.jsonl.gz")
    convert(source, tmp_path / "b.jsonl.gz")
    convert(source, tmp_path / "a.JSONL.ZST")
    packed = (tmp_path / "a.jsonl.gz").read_bytes()
    assert packed == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(packed).decode() == LINE
    unpacked = zstandard.ZstdDecompressor().decompressobj()
    assert unpacked.decompress((tmp_path / "a.JSONL.ZST").read_bytes()).decode() == LINE


def test_a_template_makes_chats_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("summary,price\nA pot,4\n", encoding="utf-8")
    template = Template(
        system="Answer with a price.",
        user="Estimate the price.\n\n{{ summary }}",
        assistant="${{ '%.2f' % (price | float) }}",
    )
    convert(tmp_path / "items.csv", tmp_path / "out.jsonl", ReadOptions(template=template))
    (row,) = read_rows(tmp_path / "out.jsonl")
    contents = [message["content"] for message in row["messages"]]
    assert contents == ["Answer with a price.", "Estimate the price.\n\nA pot", "$4.00"]


def test_other_shapes_of_openai_stay_what_they_are(tmp_path: Path) -> None:
    rows = [
        {"messages": CHAT["messages"][:1], "reference": "x"},
        {
            "input": {"messages": CHAT["messages"][:1]},
            "preferred_output": CHAT["messages"][1:],
            "non_preferred_output": CHAT["messages"][1:],
        },
        {"item": {"b": 1, "a": 2}},
    ]
    for row in rows:
        convert(written(tmp_path / "in.jsonl", row, row), tmp_path / "out.jsonl")
        assert read_rows(tmp_path / "out.jsonl") == [row, row]


def test_fields_become_items(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("q,label\na,b\n", encoding="utf-8")
    convert(tmp_path / "in.csv", tmp_path / "out.jsonl", to="item")
    assert read_rows(tmp_path / "out.jsonl") == [{"item": {"q": "a", "label": "b"}}]


def test_a_tsv_has_tabs(tmp_path: Path) -> None:
    convert(written(tmp_path / "in.jsonl", {"a": "x, y", "b": 1}), tmp_path / "o.tsv", to="fields")
    assert (tmp_path / "o.tsv").read_text(encoding="utf-8") == "a\tb\nx, y\t1\n"


def test_chats_become_questions_with_answers(tmp_path: Path) -> None:
    convert(written(tmp_path / "in.jsonl", CHAT), tmp_path / "out.csv", to="fields")
    assert list(read_rows(tmp_path / "out.csv")[0]) == ["question", "answer"]


BAD = b'{"messages": []}\n{"messages"\n\n{"messages": [], "messages": []}\n[]\n'


def test_bad_rows_stop_everything_and_all_are_told(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(BAD)
    target = tmp_path / "out.jsonl"
    target.write_text("kept", encoding="utf-8")
    with pytest.raises(BadRows, match=r"2 of 4 rows cannot be converted; nothing was") as raised:
        convert(tmp_path / "in.jsonl", target)
    found = [(problem.line, problem.rule) for problem in raised.value.problems]
    assert found == [(2, "line-not-json"), (4, "duplicate-key"), (5, "row-not-object")]
    assert target.read_text(encoding="utf-8") == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_bad_rows_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(BAD)
    done = convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl", skip_bad=True)
    assert (done.rows, done.skipped, len(done.problems)) == (2, 2, 3)
    assert len(read_rows(tmp_path / "out.jsonl")) == 2


def test_a_row_that_the_shape_cannot_hold_is_named(tmp_path: Path) -> None:
    several = {"messages": CHAT["messages"] * 2}
    source = written(tmp_path / "in.jsonl", CHAT, several)
    with pytest.raises(BadRows) as raised:
        convert(source, tmp_path / "out.jsonl", to="completion")
    (found,) = raised.value.problems
    assert (found.file, found.line, found.rule) == (str(source), 2, "not-convertible")
    assert "several turns" in found.message


@pytest.mark.parametrize(
    ("rows", "target", "to", "words"),
    [
        ([CHAT], "out.csv", None, "Choose flat rows with --to"),
        ([CHAT], "", None, "is a folder: give the name of a file"),
        ([], "out.parquet", None, "has no rows; nothing was written"),
        ([CHAT], "missing/out.jsonl", None, "cannot be written: No such file"),
        ([CHAT], "s3://bucket/out.jsonl", None, "is not on this machine"),
        ([CHAT], "out.jsonl", "vicuna", "'vicuna' is not one of"),
        ([], "out.jsonl", None, "has no rows; nothing was written"),
        ([{"q": "a", "label": "b"}], "out.jsonl", None, r"holds fields \(q, label\), not chats.*--user '{{ q }}'"),
        ([{"a": 1}, {"b": 1}], "out.csv", "fields", "same fields in every row: a; one row has b"),
        ([{"a": 1}, {"a": "x"}], "out.parquet", "fields", "do not fit into columns"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, rows: list[Any], target: str, to: str | None, words: str
) -> None:
    source = written(tmp_path / "in.jsonl", *rows)
    where = target if "://" in target else tmp_path / target
    with pytest.raises(InvalidInput, match=words):
        convert(source, where, to=to)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_device_keeps_its_place_and_a_link_stays_a_link(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", CHAT)
    pipe, link = tmp_path / "pipe", tmp_path / "link.jsonl"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "real.jsonl")
    with ThreadPoolExecutor() as reader:
        read = reader.submit(pipe.read_bytes)
        convert(source, pipe)
    assert read.result().decode() == LINE
    assert pipe.is_fifo()
    convert(source, link)
    assert link.is_symlink()
    assert (tmp_path / "real.jsonl").read_text(encoding="utf-8") == LINE


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(InvalidInput, match="cannot be written: No space left on device"):
        convert(written(tmp_path / "in.jsonl", CHAT), "/dev/full")
    assert Path("/dev/full").is_char_device()


def test_a_file_can_be_converted_in_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([CHAT] * 3), encoding="utf-8")
    convert(path, path)
    assert read_rows(path) == [CHAT] * 3


def test_standard_output_gets_rows_only_when_all_are_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8"))
    (tmp_path / "bad.jsonl").write_bytes(LINE.encode() + b"{")
    with pytest.raises(BadRows):
        convert(tmp_path / "bad.jsonl", "-")
    assert out.getvalue() == b""
    convert(written(tmp_path / "in.jsonl", CHAT), "-")
    assert out.getvalue().decode() == LINE


def test_progress_reaches_the_size_of_the_source(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", CHAT, CHAT)
    told: list[tuple[int, int | None]] = []
    convert(source, tmp_path / "out.jsonl", watch=lambda read, size: told.append((read, size)))
    size = source.stat().st_size
    assert told[-1] == (size, size)


@pytest.mark.parametrize("name", ["policy", "hospitality"])
def test_real_chats_come_out_unchanged(tmp_path: Path, name: str) -> None:
    source = SHARED / name / "train.jsonl"
    if not source.is_file():
        pytest.skip("the workloads' real data are not beside the project")
    convert(source, tmp_path / "out.jsonl")
    convert(tmp_path / "out.jsonl", tmp_path / "again.jsonl")
    assert read_rows(tmp_path / "out.jsonl") == read_rows(source)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
