"""`selftune data convert` as a user types it."""

import gzip
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import InvalidInput

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "bring-your-data.md"
TABLE = "text,label\nWhere is my card?,arrival\nIt was stolen!,theft\n"
TEMPLATE = ("--user", "{{ text }}", "--assistant", "{{ label }}")


def convert(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["data", "convert", *map(str, arguments)], input=stdin)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "intents.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_a_table_becomes_chats(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "chats.jsonl"
    shown = convert(table, "-o", target, *TEMPLATE, "--system", "Name the intent.", "--limit", 1)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == ""
    assert shown.stderr.replace("\n", "") == f"1 row: {table} -> {target}"
    (row,) = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [m["content"] for m in row["messages"]] == [
        "Name the intent.",
        "Where is my card?",
        "arrival",
    ]


def test_packed_standard_input_becomes_rows_on_standard_output(table: Path) -> None:
    packed = gzip.compress(table.read_bytes())
    shown = convert("-", "--to", "item", stdin=packed)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout.splitlines()[1]) == {
        "item": {"text": "It was stolen!", "label": "theft"}
    }


def test_programs_get_json(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    shown = convert(table, "-o", target, *TEMPLATE, "--json")
    assert json.loads(shown.stdout) == {
        "source": str(table),
        "target": str(target),
        "container": "jsonl",
        "rows": 2,
        "skipped": 0,
        "problems": [],
    }
    refused = convert(table, *TEMPLATE, "--json")
    assert isinstance(refused.exception, InvalidInput)


def test_bad_rows_are_listed_and_the_exit_code_is_one(tmp_path: Path) -> None:
    bad = tmp_path / "bad[red].jsonl"
    bad.write_bytes(b'{"messages": []}\n{"messages": [\n' + b"[]\n" * 30)
    shown = convert(bad, "-o", tmp_path / "out.jsonl")
    assert shown.exit_code == 1
    said = shown.stderr.splitlines()
    assert said[0].startswith(f"{bad}:2 The line is not valid JSON: ")
    assert said[0].endswith(" Write one JSON object on each line, with json.dumps or the like.")
    assert said[-2] == "and more; --json shows up to 1,000"
    assert "31 of 32 rows cannot be converted; nothing was written" in said[-1]
    as_json = json.loads(convert(bad, "-o", tmp_path / "out.jsonl", "--json").stdout)
    assert len(as_json["problems"]) == 31
    assert not (tmp_path / "out.jsonl").exists()


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"messages": []}\n{\n')
    shown = convert(tmp_path / "bad.jsonl", "-o", tmp_path / "out.jsonl", "--skip-bad")
    assert shown.exit_code == 0
    assert "1 row, 1 left out: " in shown.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"messages": []}\n'


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """Give a folder of the files that the page about data names."""
    import datasets  # takes a second

    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    turns = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    (tmp_path / "chats.json").write_text(json.dumps([chat]), encoding="utf-8")
    (tmp_path / "sharegpt.jsonl.gz").write_bytes(gzip.compress(json.dumps(turns).encode()))
    (tmp_path / "alpaca.json").write_text('[{"instruction": "a", "output": "b"}]', encoding="utf-8")
    (tmp_path / "intents.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "prices.jsonl").write_text('{"price": 4}', encoding="utf-8")
    (tmp_path / "intents.py").write_text("messages = ['a']\nlabels = ['b']\n", encoding="utf-8")
    names = datasets.ClassLabel(names=["lost"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    rows = datasets.Dataset.from_dict({"text": ["a"], "label": [0]}, features=features)
    datasets.disable_progress_bars()
    datasets.DatasetDict({"test": rows}).save_to_disk(tmp_path / "saved_dataset")
    return tmp_path


def test_every_command_of_the_page_about_data_runs(
    brought: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(brought)
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("selftune data convert ")]
    assert len(commands) == 11
    for command in commands:
        shown = convert(*command[3:])
        assert shown.exit_code == 0, shown.output
        assert Path(command[command.index("-o") + 1]).is_file()


def test_a_closed_pipe_and_a_missing_file_end_without_a_traceback(table: Path) -> None:
    command = [sys.executable, "-m", "selftune", "data", "convert"]
    missing = subprocess.run([*command, "no.jsonl"], capture_output=True, text=True, timeout=60)
    assert missing.returncode == 2
    assert missing.stderr == "error: no.jsonl cannot be read: it is not there.\n"
    table.write_text("text,label\n" + "a,b\n" * 50_000, encoding="utf-8")
    piped = f"{' '.join(command)} {table} --to item | head -n 1"
    run = subprocess.run(
        ["bash", "-c", piped], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == '{"item": {"text": "a", "label": "b"}}\n'
    assert "Traceback" not in run.stderr
