"""The main job from a run file to a report, with the fake engine."""

import json
from pathlib import Path

import pytest

from selftune import local
from selftune.core.errors import InvalidInput, JobFailed
from selftune.core.settings import load_settings
from selftune.store.accounts import default_identity
from selftune.store.models import list_models
from selftune.store.store import Store, open_store

RUN_FILE = """
name = "<script>alert(1)</script>"
[data]
training_file = "train.json"
test_file = "test.jsonl"
[model]
base = "selftune/fake"
[evaluation]
prompt = "{{ item.question }}"
category = "topic"
[[evaluation.graders]]
type = "string_check"
reference = "{{ item.answer }}"
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(load_settings(home=tmp_path / "home"))


def write(folder: Path, *, rows: int = 12, run_file: str = RUN_FILE) -> Path:
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"q{index}"},
                {"role": "assistant", "content": f"a{index}"},
            ]
        }
        for index in range(rows)
    ]
    tests = [
        {"item": {"question": f"q{index}", "answer": f"a{index}", "topic": f"t{index % 2}"}}
        for index in range(8, 16)
    ]
    (folder / "train.json").write_text(json.dumps(chats), encoding="utf-8")
    lines = "\n".join(json.dumps(row) for row in tests)
    (folder / "test.jsonl").write_text(lines, encoding="utf-8")
    path = folder / "run.toml"
    path.write_text(run_file, encoding="utf-8")
    return path


def test_a_run_tunes_proves_and_reports(store: Store, tmp_path: Path) -> None:
    report, written = local.run(write(tmp_path), store=store)
    base, tuned = (arm.summary for arm in report.arms)
    assert base.accuracy is not None
    assert tuned.accuracy is not None
    assert (base.accuracy.value, tuned.accuracy.value) == (0.0, 0.5)
    found = report.comparisons[0]
    assert found.only_this == (1, 2, 3, 4)
    assert found.outcome == "cannot tell"
    assert "more questions" not in found.words
    assert set(tuned.categories) == {"t0", "t1"}
    page = written.html.read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    kept = json.loads(written.json_file.read_text(encoding="utf-8"))
    assert kept["arms"][1]["summary"]["model"] == tuned.model
    assert tuned.model.startswith("ft:")


def test_a_job_that_fails_says_why(store: Store, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="must have at least 10 examples"):
        local.run(write(tmp_path, rows=9), store=store)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('"train.json"', "missing.json cannot be read"),
        ("[model]\n", "model.colour: is not a known key"),
        ("[data]", "not valid TOML"),
        ("{{ item.question }}", "cannot be filled"),
        ("string_check", "string_chek"),
    ],
)
def test_a_wrong_run_file_is_told_by_file_and_key(
    store: Store, tmp_path: Path, change: str, words: str
) -> None:
    replaced = {
        '"train.json"': '"missing.json"',
        "[model]\n": '[model]\ncolour = "red"\n',
        "[data]": "[data",
        "{{ item.question }}": "{{ item.nothing }}",
        "string_check": "string_chek",
    }[change]
    path = write(tmp_path, run_file=RUN_FILE.replace(change, replaced, 1))
    with pytest.raises(InvalidInput, match=words):
        local.run(path, store=store)
    assert list_models(store, default_identity(store).project_id) == ()
