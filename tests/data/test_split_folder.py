"""From a source to a folder of files: what is written, how often, and what is refused."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from selftune.core.errors import InvalidInput
from selftune.core.runfile import Template
from selftune.data.read import ReadOptions
from selftune.data.split import SplitOptions
from selftune.data.split_folder import FolderOptions, split_source

SHARED = Path(__file__).parents[3] / "shared" / "data"


def chat(question: str, answer: str = "yes") -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "all.jsonl", [chat(f"q{n} r{n} s{n}", f"a{n % 3}") for n in range(60)])


def test_the_folder_says_what_went_where(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "split"
    report = split_source(source, folder, FolderOptions(sizes=(10, 20)))
    assert sorted(path.name for path in folder.iterdir()) == [
        "split.json",
        "test.jsonl",
        "train-10.jsonl",
        "train-20.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ]
    rows = read(source)
    for side in ("train", "validation", "test"):
        assert read(folder / f"{side}.jsonl") == [rows[line - 1] for line in report.lines[side]]
    for name, file in report.files.items():
        content = (folder / name).read_bytes()
        assert (file.bytes, file.rows) == (len(content), content.count(b"\n"))
        assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert json.loads((folder / "split.json").read_bytes()) == report.model_dump(mode="json")
    assert report.labels is not None
    assert report.labels["a1"] == {"train": 14, "validation": 2, "test": 4}
    smaller = {json.dumps(row) for row in read(folder / "train-10.jsonl")}
    assert smaller <= {json.dumps(row) for row in read(folder / "train-20.jsonl")}


def test_the_same_source_and_seed_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        split_source(source, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_items_stay_items_and_leaks_are_left_out(source: Path, tmp_path: Path) -> None:
    tests: list[dict[str, Any]] = [
        {"item": {"input_text": "Q7 R7, S7!", "correct_label": "a1"}},
        {"question": "other words", "answer": "a2"},
    ]
    given = jsonl(tmp_path / "test.jsonl", tests)
    report = split_source(source, tmp_path / "out", FolderOptions(test_file=str(given)))
    assert read(tmp_path / "out" / "test.jsonl") == [tests[0], {"item": tests[1]}]
    assert report.lines["left_out"] == (8,)
    assert "test" not in report.lines
    assert report.leakage is not None
    assert [(leak.kind, leak.other_line) for leak in report.leakage.leaks] == [("normalised", 1)]
    trained = read(tmp_path / "out" / "train.jsonl") + read(tmp_path / "out" / "validation.jsonl")
    assert len(trained) == 59
    assert chat("q7 r7 s7", "a1") not in trained


def test_a_field_that_the_template_does_not_use_can_group(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    lines = [f"q{n} r{n},{n % 2},c{n % 10}" for n in range(50)]
    path.write_text("text,label,customer\n" + "\n".join(lines), encoding="utf-8")
    options = FolderOptions(
        split=SplitOptions(group_by="customer"),
        read=ReadOptions(template=Template(user="{{ item.text }}", assistant="{{ item.label }}")),
    )
    report = split_source(path, tmp_path / "out", options)
    assert (len(report.lines["validation"]), len(report.lines["test"])) == (5, 10)
    assert {line % 10 for line in report.lines["test"]}.isdisjoint(
        line % 10 for line in report.lines["train"]
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no rows"),
        ('{"messages": []}\n{"mess', "line 2"),
        ('{"text": "a", "label": "b"}\n' * 20, "line 1: The row has no messages, but the fields"),
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_is_written(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput, match=words):
        split_source(path, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["all.jsonl"]


def test_a_folder_is_replaced_only_when_asked_and_only_a_split(
    source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()  # an empty one may be there
    split_source(source, folder, FolderOptions(sizes=(5,)))
    with pytest.raises(InvalidInput, match="--force replaces it"):
        split_source(source, folder)
    split_source(source, folder, FolderOptions(replace=True))
    assert not (folder / "train-5.jsonl").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no split wrote it"):
        split_source(source, mine, FolderOptions(replace=True))
    with pytest.raises(InvalidInput, match="is a file"):
        split_source(source, mine / "notes.txt", FolderOptions(replace=True))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["all.jsonl", "mine", "out"]


def test_a_write_that_fails_leaves_what_was_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    split_source(source, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidInput, match="No space left on device"):
        split_source(source, folder, FolderOptions(replace=True, split=SplitOptions(seed=1)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["all.jsonl", "out"]


@pytest.mark.skipif(not SHARED.exists(), reason="the real data of the workloads is not here")
def test_real_intents_go_from_csv_to_files_with_their_leaks_shown(tmp_path: Path) -> None:
    options = FolderOptions(
        read=ReadOptions(
            template=Template(user="{{ item.text }}", assistant="{{ item.category }}")
        ),
        test_file=str(SHARED / "banking77" / "test.csv"),
        sizes=(200, 2000),
    )
    report = split_source(SHARED / "banking77" / "train.csv", tmp_path / "out", options)
    assert report.leakage is not None
    kinds = [leak.kind for leak in report.leakage.leaks]
    assert (kinds.count("exact"), kinds.count("normalised")) == (6, 20)
    assert kinds.count("near") > 600
    assert report.files["test.jsonl"].rows == 3080
    assert report.labels is not None
    assert len(report.labels) == 77
    assert all(min(counts.values()) > 0 for counts in report.labels.values())


@pytest.mark.skipif(not SHARED.exists(), reason="the real data of the workloads is not here")
def test_real_prices_go_from_fields_to_nested_files(tmp_path: Path) -> None:
    template = Template(
        user="What does this cost? Only the price.\n\n{{ item.summary }}",
        assistant="${{ '%.2f' % item.price }}",
    )
    options = FolderOptions(read=ReadOptions(template=template), sizes=(100, 1000), order="first")
    report = split_source(SHARED / "prices" / "items.jsonl", tmp_path / "out", options)
    assert [report.files[f"{name}.jsonl"].rows for name in ("train", "validation", "test")] == [
        1227,
        175,
        350,
    ]
    trained = read(tmp_path / "out" / "train.jsonl")
    assert read(tmp_path / "out" / "train-100.jsonl") == trained[:100]
