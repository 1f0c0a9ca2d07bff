"""The command line as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selftune.core.settings import child_environment, load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def selftune(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selftune", *arguments],
        env=child_environment(load_settings(home=home)),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_files_and_jobs_come_and_go(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"messages": []}\n', encoding="utf-8")
    file_id = selftune(home, "files", "add", str(path)).stdout.strip()
    assert [
        file["id"] for file in json.loads(selftune(home, "files", "list", "--json").stdout)
    ] == [file_id]
    assert selftune(home, "files", "content", file_id).stdout == path.read_text(encoding="utf-8")
    job_id = selftune(home, "jobs", "create", file_id, "--suffix", "x").stdout.strip()
    assert job_id.startswith("ftjob-")
    assert "Created fine-tuning job" in selftune(home, "jobs", "events", job_id).stdout
    assert selftune(home, "jobs", "cancel", job_id).stdout.strip() == "cancelled"
    listed = json.loads(selftune(home, "jobs", "list", "--json").stdout)
    assert [(job["id"], job["status"]) for job in listed] == [(job_id, "cancelled")]


def test_a_key_is_shown_once_and_can_be_revoked(home: Path) -> None:
    secret = selftune(home, "keys", "create", "laptop").stdout.strip()
    assert secret.startswith("sk-selftune-")
    listed = selftune(home, "keys", "list").stdout
    assert secret not in listed
    key_id = next(word for word in listed.split() if word.startswith("key_"))
    assert selftune(home, "keys", "revoke", key_id).returncode == 0
    assert "revoked" in selftune(home, "keys", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("jobs", "show", "ftjob-none"), "Could not find fine tune: ftjob-none"),
        (("files", "add", "missing.jsonl"), "missing.jsonl is not there"),
        (("run", "missing.toml"), "missing.toml cannot be read"),
        (("chat", "nope", "hello"), "The model `nope` does not exist"),
        (("serve", "--host", "0.0.0.0", "--no-auth"), "allowed on loopback only"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(
    home: Path, arguments: tuple[str, ...], words: str
) -> None:
    run = selftune(home, *arguments)
    assert run.returncode == 2
    assert words in run.stderr.replace("\n", " ")
    assert "Traceback" not in run.stderr


def test_the_doctor_says_what_is_there(home: Path) -> None:
    run = selftune(home, "doctor")
    assert "weights of selftune/minilm" in run.stdout
    assert run.returncode == 0, run.stdout
