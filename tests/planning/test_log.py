"""The log of finished runs."""

import resource
from pathlib import Path

import pytest

from selftune.core.errors import Unavailable
from selftune.core.records import Hyperparameters
from selftune.planning.log import Run, RunLog


def run(key: str) -> Run:
    return Run(
        key=key,
        rows=50,
        seed=1,
        asked=Hyperparameters(),
        used={"n_epochs": 3.0},
        model="m",
        job="j",
        tokens=1,
        seconds=1.0,
        asking_seconds=1.0,
        passed=(1.0, None),
        values=(0.5, None),
        credits=(1.0, None),
    )


def test_a_run_that_was_kept_is_there_for_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "plans" / "x" / "runs.jsonl"
    RunLog(path).keep(run("a"))
    RunLog(path).keep(run("b"))
    assert [RunLog(path).find(key) for key in "abc"] == [run("a"), run("b"), None]


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    log = RunLog(path)
    log.keep(run("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(Unavailable, match=r"cannot be written: .* it goes on from here"):
            log.keep(run("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = RunLog(path)
    assert (again.find("a"), again.find("b")) == (run("a"), None)
    again.keep(run("b"))
    assert RunLog(path).find("b") == run("b")
