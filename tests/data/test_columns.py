"""Parquet, Arrow and data sets of Hugging Face, on this machine only."""

import datetime
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import ipc, parquet

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.data.read import ReadOptions, read_lines, read_rows
from selftune.data.rows import Row

CHATS: list[Row] = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"b{n}"}]}
    for n in range(2_500)
]
LABELS = datasets.Features(
    {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["lost", "stolen"])}
)


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


def labelled() -> datasets.Dataset:
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    return datasets.Dataset.from_dict(rows, features=LABELS)


NAMED = [
    {"text": "a", "label": 1, "label_name": "stolen"},
    {"text": "b", "label": 0, "label_name": "lost"},
    {"text": "c", "label": -1},
]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows", "rows.parquet.gz"])
def test_columns_are_read_batch_by_batch(tmp_path: Path, name: str) -> None:
    import gzip

    table, path = pyarrow.Table.from_pylist(CHATS), tmp_path / name
    if name == "rows.arrow":
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    elif name == "rows":
        with ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    else:
        parquet.write_table(table, path)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_rows(path) == CHATS
    assert read_rows(path, ReadOptions(limit=3)) == CHATS[:3]


def test_absent_keys_of_messages_do_not_become_null(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    rows = [CHATS[0], {"messages": [{"role": "assistant", "tool_calls": [call], "content": None}]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    first, second = read_rows(tmp_path / "rows.parquet")
    assert first == CHATS[0]
    assert second["messages"] == [{"role": "assistant", "tool_calls": [call]}]


def test_values_of_columns_become_values_of_json(tmp_path: Path) -> None:
    values: Row = {
        "day": datetime.date(2026, 1, 2),
        "time": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
        "price": Decimal("4.50"),
        "count": Decimal("4.00"),
        "nothing": math.nan,
        "parts": [1, None],
    }
    parquet.write_table(pyarrow.Table.from_pylist([values]), tmp_path / "rows.parquet")
    assert read_rows(tmp_path / "rows.parquet") == [
        {
            "day": "2026-01-02",
            "time": "2026-01-02T03:04:00+00:00",
            "price": 4.5,
            "count": 4,
            "nothing": None,
            "parts": [1, None],
        }
    ]


def test_bytes_in_a_column_are_a_problem_of_their_row(tmp_path: Path) -> None:
    rows = [{"n": 1, "image": None}, {"n": 2, "image": b"\x89PNG"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    first, second = read_lines(tmp_path / "rows.parquet")
    assert first.row == {"n": 1, "image": None}
    assert second.problem is not None
    assert (second.problem.rule, second.number) == ("value-not-json", 2)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_damaged_columns_are_refused(tmp_path: Path, kind: str, damage: str) -> None:
    table, path = pyarrow.Table.from_pylist(CHATS), tmp_path / "rows"
    if kind == "parquet":
        parquet.write_table(table, path)
    else:
        new = ipc.new_file if kind == "arrow" else ipc.new_stream
        with new(path, table.schema) as writer:
            writer.write_table(table)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[8:-8] = bytes(255 - byte for byte in data[8:-8])
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"rows is damaged"):
        read_rows(path)


def test_a_saved_data_set_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    labelled().save_to_disk(tmp_path / "saved")
    assert read_rows(tmp_path / "saved") == NAMED


def test_a_split_is_chosen_by_name(tmp_path: Path) -> None:
    both = datasets.DatasetDict({"train": labelled(), "test": labelled().select([0])})
    both.save_to_disk(tmp_path / "saved")
    assert read_rows(tmp_path / "saved", ReadOptions(split="test")) == NAMED[:1]
    assert read_rows(tmp_path / "saved", ReadOptions(split="train", limit=2)) == NAMED[:2]
    with pytest.raises(InvalidInput, match="has the splits train, test: say which with --split"):
        read_rows(tmp_path / "saved")
    with pytest.raises(InvalidInput, match="'dev' is not one of them"):
        read_rows(tmp_path / "saved", ReadOptions(split="dev"))


@pytest.mark.parametrize("kind", ["parquet", "json", "csv"])
def test_a_folder_of_files_is_a_data_set(tmp_path: Path, kind: str) -> None:
    dataset = labelled()
    for name in ("train", "test"):
        getattr(dataset, f"to_{kind}")(str(tmp_path / f"{name}.{kind}"))
    rows = read_rows(tmp_path, ReadOptions(split="train"))
    assert [row["text"] for row in rows] == ["a", "b", "c"]
    assert (rows == NAMED) == (kind == "parquet")


@pytest.mark.parametrize("files", [{}, {"notes.xyz": b"?"}, {"train.parquet": b"PAR1broken"}])
def test_a_folder_without_rows_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInput, match=r"cannot be read as a data set|is damaged"):
        read_rows(tmp_path)


def test_code_in_a_data_set_is_never_run(tmp_path: Path) -> None:
    folder, mark = tmp_path / "evil", tmp_path / "mark"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')", encoding="utf-8")
    (folder / "train.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    with pytest.raises(InvalidInput, match="scripts are no longer supported"):
        read_rows(folder)
    assert not mark.exists()


def test_a_name_on_the_hub_is_asked_for_only_when_it_is_written_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return datasets.IterableDatasetDict({"train": labelled().to_iterable_dataset()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_rows("hf:owner/name:main", ReadOptions(limit=2)) == NAMED[:2]
    assert asked == [(("owner/name", "main"), {"streaming": True})]
    with pytest.raises(InvalidInput, match="is not there"):
        read_rows("owner/name")
    assert len(asked) == 1


@pytest.mark.parametrize("module", ["pyarrow", "datasets"])
def test_an_absent_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    source: Path | str = "hf:owner/name"
    if module == "pyarrow":
        source = tmp_path / "rows.parquet"
        source.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"needs {module}: pip install 'selftune\[data\]'"):
        read_rows(source)
