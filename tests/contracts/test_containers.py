"""Every container that is found keeps the promises of `data/container.py`."""

import io
from contextlib import suppress
from pathlib import Path

import pytest

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.data import containers
from selftune.data.sources.container import container_of, load_container
from selftune.data.sources.source import open_source

NAMES = plugins.available(containers)
ROWS = [
    {"question": "Wo ist 我的卡?", "answer": "line one\nline two", "n": 3},
    {"question": 'She said "no", twice; then left', "answer": "a,b\tc", "n": -1},
]
TEXTS = [{name: str(value) for name, value in row.items()} for row in ROWS]
WRITING = [name for name in NAMES if load_container(name).suffixes]
SAMPLES = {
    "chat.jsonl": b'{"messages": []}\n',
    "array.json": b'[\n  {"messages": []}\n]',
    "array.jsonl": b'[{"messages": []}]',
    "empty.json": b"[]",
    "table.csv": b"text,label\na,b\n",
    "one_column.csv": b"text\nhello\n",
    "unnamed": b'"text";"label"\n"a";"b"\n',
    "table.tsv": b"text\tlabel\na\tb\n",
    "lists.py": b'"""Doc."""\nimport os\nmessages = [\n  "a",\n]\nlabels = ["b"]\n',
    "unnamed_list": b"[{'messages': []}]",
    "unnamed_pairs": b"# pairs\n[('a', 'b')]",
    "mapping": b"{\n  'a': 'b'}",
    "broken.jsonl": b"hello, world\n{}\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", WRITING)
def test_what_is_written_is_recognised_and_read_again(name: str, tmp_path: Path) -> None:
    container = load_container(name)
    path = tmp_path / f"rows{container.suffixes[0]}"
    with path.open("wb") as file:
        assert container.write(ROWS, file) == len(ROWS)
    with open_source(path) as source:
        assert container_of(source) == name
        lines = list(container.lines(source))
    assert [line.problem for line in lines] == [None] * len(ROWS)
    assert [line.row for line in lines] in (ROWS, TEXTS)


@pytest.mark.parametrize("name", WRITING)
def test_the_same_rows_give_the_same_bytes(name: str) -> None:
    targets = [io.BytesIO() for _ in range(2)]
    for target in targets:
        load_container(name).write(iter(ROWS), target)
    assert targets[0].getvalue() == targets[1].getvalue() != b""


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(WRITING)))
def test_what_cannot_be_written_says_what_can(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"not written\. Choose a name in"):
        load_container(name).write(ROWS, io.BytesIO())


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_two_containers_recognise_the_same_source(sample: str, tmp_path: Path) -> None:
    path = tmp_path / sample
    path.write_bytes(SAMPLES[sample])
    with open_source(path) as source:
        found = [name for name in NAMES if load_container(name).recognizes(source)]
    assert len(found) <= 1
    assert found or sample in ("nothing", "broken.jsonl")


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_refused_or_told_line_by_line(name: str, tmp_path: Path) -> None:
    noise = bytes(range(256)) * 8 + b"\n" + b'\xff{"a": 1}\n'
    (tmp_path / "noise").write_bytes(noise)
    with open_source(tmp_path / "noise") as source, suppress(InvalidInput):
        for line in load_container(name).lines(source):
            assert line.row is None
            assert line.problem is not None
