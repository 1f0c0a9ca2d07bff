"""`selftune data check` as a user types it, and stops it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from selftune.core.settings import child_environment, load_settings

ROW = {
    "messages": [
        {"role": "user", "content": "Where is my parcel? " + "It was due on Monday. " * 20},
        {"role": "assistant", "content": "On its way."},
    ]
}


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "selftune", "data", "check", *arguments],
        env=child_environment(load_settings(home=folder / "home")),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def checked(folder: Path, *arguments: str, given: str = "") -> tuple[int, str]:
    process = command(folder, *arguments)
    out, err = process.communicate(given, timeout=60)
    assert "Traceback" not in err
    return process.returncode, out


def test_every_rule_is_shown_with_places_remedy_and_sums(tmp_path: Path) -> None:
    rows = [json.dumps(ROW)] * 11 + ['{"messages": [{"role": "human", "content": "x"}]}', "{oops"]
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    status, out = checked(tmp_path, "train.jsonl")
    assert status == 1
    assert "error role-unknown\n  line 12, message 1: has the role 'human'" in out
    assert "warning duplicate-row, 10 times\n  line 2: says the same as line 1\n" in out
    assert "and 7 more" in out
    assert "-> Remove it: `selftune data dedupe`." in out
    assert "train.jsonl: 13 rows" in out
    assert "2 errors, 10 warnings, 1 piece of advice" in out


def test_programs_get_every_problem_and_a_status(tmp_path: Path) -> None:
    status, out = checked(tmp_path, "-", "--json", given=f"{json.dumps(ROW)}\n" * 60)
    found = json.loads(out)
    assert status == 0
    assert found["counts"] == {"duplicate-row": 59}
    assert [each["line"] for each in found["problems"]] == list(range(2, 61))


def test_a_method_that_does_not_exist_is_told(tmp_path: Path) -> None:
    process = command(tmp_path, "-", "--method", "ppo")
    _, err = process.communicate("", timeout=60)
    assert process.returncode == 2
    assert "'ppo': it is supervised, dpo, reinforcement or evaluation" in err


def test_near_duplicates_of_what_passes_once_are_refused(tmp_path: Path) -> None:
    process = command(tmp_path, "-", "--near")
    _, err = process.communicate("", timeout=60)
    assert process.returncode == 2
    assert "write it to a file first" in err


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file that takes long to check."""
    path = tmp_path_factory.mktemp("large") / "large.jsonl"
    row = json.dumps(ROW | {"metadata": {"number": "0"}}) + "\n"
    path.write_text(row * 200_000, encoding="utf-8")
    return path


@pytest.fixture
def busy(tmp_path: Path, large: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a check that reads in two processes and is not done yet."""
    process = command(tmp_path, str(large), "--processes", "2")
    wait_until(lambda: len(members(process.pid)) == 3)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("to_all", [True, False])
def test_an_interrupt_ends_it_and_its_children(busy: subprocess.Popen[str], to_all: bool) -> None:
    (os.killpg if to_all else os.kill)(busy.pid, signal.SIGINT)
    _, err = busy.communicate(timeout=20)
    assert busy.returncode == 130
    assert "Traceback" not in err
    assert members(busy.pid) == []


def test_children_do_not_outlive_a_kill(busy: subprocess.Popen[str]) -> None:
    busy.kill()
    wait_until(lambda: members(busy.pid) == [])


def members(session: int) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(holds: object, seconds: float = 20.0) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
