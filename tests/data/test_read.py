"""Any source to rows in OpenAI's shape, told by content."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from selftune.core.errors import InvalidInput, UnknownPlugin
from selftune.core.runfile import Template
from selftune.data.read import ReadOptions, read_lines, read_rows

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
TEMPLATE = Template(user="{{ question }}", assistant="{{ item.label }}")
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": "On its way."},
    ]
}


def written(folder: Path, name: str, *rows: Any) -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chats.jsonl", json.dumps(CHAT)),
        ("chats.json", json.dumps([CHAT], indent=2)),
        ("sharegpt.jsonl", '{"conversations": [{"from": "human", "value": "Where is my parcel?"}, {"from": "gpt", "value": "On its way."}]}'),
        ("alpaca.json", '[{"instruction": "Where is my parcel?", "input": "", "output": "On its way."}]'),
        ("completion.csv", "prompt,completion\nWhere is my parcel?,On its way.\n"),
        ("literal.py", f"rows = [{CHAT!r}]"),
    ],
)  # fmt: skip
def test_shape_and_packing_are_told_by_content(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_rows(tmp_path / name) == [CHAT]
    (tmp_path / "no-name").write_bytes(gzip.compress(text.encode()))
    assert read_rows(tmp_path / "no-name") == [CHAT]


def test_fields_stay_fields_until_a_template_says_what_they_mean(tmp_path: Path) -> None:
    row = {"question": "Where is my parcel?", "label": "tracking"}
    path = written(tmp_path, "items.jsonl", row, {"item": row})
    assert read_rows(path) == [row, {"item": row}]
    chats = read_rows(path, ReadOptions(template=TEMPLATE))
    assert chats[0] == chats[1]
    assert chats[0]["messages"][1] == {"role": "assistant", "content": "tracking"}


def test_what_is_told_can_be_overridden(tmp_path: Path) -> None:
    row = {"instruction": "a", "output": "b", "question": "q", "label": "l"}
    path = written(tmp_path, "rows.csv", row)
    options = ReadOptions(container="jsonl", format="fields")
    assert read_rows(path, options) == [row]
    filled = read_rows(path, ReadOptions(container="jsonl", template=TEMPLATE))
    assert filled[0]["messages"][0]["content"] == "q"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (ReadOptions(container="xlsx"), UnknownPlugin, "'xlsx' is not one of arrow, dataset"),
        (ReadOptions(format="vicuna"), UnknownPlugin, "'vicuna' is not one of alpaca"),
        (ReadOptions(split="train"), InvalidInput, "split means nothing to 'jsonl'"),
        (ReadOptions(format="chat", template=TEMPLATE), InvalidInput, "template means nothing to 'chat'"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, options: ReadOptions, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        read_rows(written(tmp_path, "chats.jsonl", CHAT), options)


def test_one_source_has_one_format_and_the_others_rows_are_named(tmp_path: Path) -> None:
    sharegpt = {"conversations": [{"from": "human", "value": "a"}]}
    broken = {"conversations": [{"from": "alien", "value": "a"}]}
    path = written(tmp_path, "rows.jsonl", sharegpt, CHAT, broken, sharegpt)
    lines = list(read_lines(path))
    assert [line.row is not None for line in lines] == [True, False, False, True]
    rules = [line.problem.rule for line in lines if line.problem is not None]
    assert rules == ["mixed-formats", "shape-invalid"]
    told = [line.problem for line in lines if line.problem is not None]
    assert [(found.file, found.line) for found in told] == [(str(path), 2), (str(path), 3)]
    assert "turn 1 from 'alien'" in told[1].message


def test_the_first_row_that_can_be_read_says_the_format(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", 3, {"conversations": [{"from": "human", "value": "a"}]})
    assert "messages" in (list(read_lines(path))[1].row or {})


def test_every_bad_line_is_in_the_error_with_its_place_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": 1}\n{"a":\n\n[]\n' + b"x\n" * 20)
    with pytest.raises(InvalidInput) as raised:
        read_rows(tmp_path / "rows.jsonl")
    said = str(raised.value).splitlines()
    assert said[0].startswith(f"{tmp_path / 'rows.jsonl'}, line 2: The line is not valid JSON")
    assert "line 4: is an array, not a JSON object. " in said[1]
    assert said[-1] == "And 12 more."


def test_a_template_that_a_row_cannot_fill_names_line_and_fields(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", {"question": "q", "label": "l"}, {"question": "q"})
    with pytest.raises(InvalidInput, match=r"rows\.jsonl, line 2: .*'label'.* are: question\."):
        read_rows(path, ReadOptions(template=TEMPLATE))


@pytest.mark.parametrize("text", ["", "\n \n", "[]", "text,label\n"])
def test_a_source_without_rows_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"rows\.csv has no rows"):
        read_rows(path)


def test_a_packed_file_that_ends_early_gives_its_rows_and_then_says_so(tmp_path: Path) -> None:
    packed = gzip.compress("".join(json.dumps({"n": n}) + "\n" for n in range(5_000)).encode())
    (tmp_path / "rows.gz").write_bytes(packed[:-20])
    lines = list(read_lines(tmp_path / "rows.gz"))
    last = lines[-1].problem
    assert last is not None
    assert last.rule == "file-cut-short"
    assert lines[0].row == {"n": 0}


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04\x14\x00\x00\x00",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        '{"a": 1}'.encode("utf-16-be"),
    ],
)
def test_what_is_not_text_is_refused_at_once(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(data)
    with pytest.raises(
        InvalidInput, match=r"is (neither text|text in UTF-16|a zip archive)"
    ) as raised:
        read_rows(tmp_path / "rows.jsonl")
    assert raised.value.code == "file-not-text"


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": 1}\n{"a": 2}\nbroken\n')
    assert read_rows(tmp_path / "rows.jsonl", ReadOptions(limit=2)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "count", "options"),
    [
        ("policy/train.jsonl", 164, ReadOptions()),
        ("policy/test.jsonl", 40, ReadOptions()),
        ("hospitality/train.jsonl", 400, ReadOptions()),
        ("hospitality/test.jsonl", 100, ReadOptions()),
        ("banking77/train.csv", 10_003, ReadOptions(template=Template(user="{{ text }}", assistant="{{ category }}"))),
        ("prices/items.jsonl", 1_752, ReadOptions(template=Template(user="{{ summary }}", assistant="${{ '%.2f' % price }}"))),
        ("prices/items.jsonl", 100, ReadOptions(limit=100)),
    ],
)  # fmt: skip
def test_the_workloads_go_in_as_they_are(name: str, count: int, options: ReadOptions) -> None:
    if not SHARED.is_dir():
        pytest.skip("the workloads' real data are not beside the project")
    assert len(read_rows(SHARED / name, options)) == count
