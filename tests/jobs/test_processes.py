"""Children die with their parent, however it dies, and are started again when they die alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selftune.core.settings import child_environment, load_settings
from selftune.jobs import processes
from selftune.jobs.processes import KeptAlive
from selftune.store.owners import is_gone, this_process

SLEEPER = """
import sys, time, pathlib, subprocess
from selftune.jobs.processes import die_with_parent
from selftune.store.owners import this_process
die_with_parent()
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(f"{this_process()}\\n{grandchild.pid}")
time.sleep(60)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sleeper.py").write_text(SLEEPER, encoding="utf-8")
    values = child_environment(load_settings({}, home=str(tmp_path)))
    path = os.pathsep.join([str(tmp_path), *(folder for folder in sys.path if folder)])
    return values | {"PYTHONPATH": path}


def started(mark: Path) -> str:
    end = time.monotonic() + 20
    while not mark.exists() or not mark.read_text("utf-8"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return mark.read_text("utf-8").splitlines()[0]


def wait_until_gone(owner: str) -> None:
    end = time.monotonic() + 20
    while not is_gone(owner):
        assert time.monotonic() < end
        time.sleep(0.02)


def grandchild_of(mark: Path) -> str:
    pid = mark.read_text("utf-8").splitlines()[1]
    machine = this_process().rsplit(":", 2)[0]
    start = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    return f"{machine}:{pid}:{start}"


def test_a_killed_parent_takes_its_child_and_what_that_started_with_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    code = (
        "import os, sys, time; from selftune.jobs import processes\n"
        "processes.start('sleeper', sys.argv[1], environment=os.environ); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(mark)], env=environment)
    owner, grandchild = started(mark), grandchild_of(mark)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until_gone(owner)
    wait_until_gone(grandchild)


def test_terminate_ends_a_child_that_does_not_listen(
    environment: dict[str, str], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    child = processes.start("sleeper", str(mark), environment=environment)
    owner = started(mark)
    assert child.is_running
    child.terminate(grace_seconds=5)
    assert not child.is_running
    assert is_gone(owner)
    child.close()


def test_a_child_that_dies_is_started_again_until_it_is_stopped(
    environment: dict[str, str], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    kept = KeptAlive("sleeper", (str(mark),), environment, tmp_path / "logs" / "sleeper.log")
    kept.start()
    first = started(mark)
    assert kept.pid is not None
    mark.unlink()
    os.kill(kept.pid, signal.SIGKILL)
    second = started(mark)
    assert first != second
    kept.stop()
    assert kept.pid is None
    wait_until_gone(second)


def test_stop_before_start_is_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    KeptAlive("sleeper", (), environment, tmp_path / "log").stop()
