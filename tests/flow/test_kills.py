"""Whatever is killed, jobs go on by themselves and end as if nothing had happened."""

from pathlib import Path

import pytest
from benchmarks.kills import Plan, measure


@pytest.mark.slow
def test_random_kills_of_child_worker_and_server_lose_nothing(tmp_path: Path) -> None:
    plan = Plan(fake=5, embedded=0, kills=10, seed=3, pauses=(0.2, 1.0))
    outcome = measure(plan, tmp_path)
    assert outcome.faults == []
    assert outcome.killed.total() >= 7
