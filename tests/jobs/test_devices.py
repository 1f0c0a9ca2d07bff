"""GPUs: who gets which, never more than there is."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.conftest import OpenStore
from tests.jobs.test_queue import put, take

from selftune.core.errors import InvalidInput, LeaseLost
from selftune.jobs.devices import (
    MOST_OVERTAKEN,
    VISIBLE,
    Device,
    Waiting,
    choose,
    find_devices,
    visible,
)
from selftune.jobs.events import list_events
from selftune.jobs.queue import Lease, claim, get_job, heartbeat, move, release
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.owners import this_process
from selftune.store.schema import jobs
from selftune.store.store import Store

GPUS = (Device(key="GPU-a", memory=1000), Device(key="GPU-b", memory=1000))


def held(store: Store) -> dict[str, int]:
    """Return what the living leases hold of each device."""
    total: dict[str, int] = {}
    with store.db.read() as connection:
        rows = connection.execute(
            select(jobs.c.devices_held).where(
                jobs.c.devices_held.is_not(None), jobs.c.lease_expires_at >= store.clock()
            )
        ).scalars()
        for found in rows:
            for key, memory in json.loads(found).items():
                total[key] = total.get(key, 0) + memory
    return total


def next_for(store: Store, owner: str = "elsewhere:1:1") -> tuple[str, Lease] | None:
    claimed = claim(store, owner, devices=GPUS)
    return None if claimed is None else (claimed[0].id, claimed[1])


def end(store: Store, lease: Lease) -> None:
    with store.db.write() as connection:
        job = get_job(store, DEFAULT_PROJECT, lease.job_id)
        for status in ("queued", "running", "succeeded"):
            job = move(store, connection, job, status)


def test_two_jobs_get_a_device_each_and_the_third_waits_for_one(any_store: Store) -> None:
    names = [put(any_store, devices=1).id for _ in range(3)]
    first, second = next_for(any_store), next_for(any_store)
    assert first is not None
    assert second is not None
    assert [first[0], second[0]] == names[:2]
    assert {first[1].devices, second[1].devices} == {("GPU-a",), ("GPU-b",)}
    assert next_for(any_store) is None
    end(any_store, first[1])
    third = next_for(any_store)
    assert third is not None
    assert (third[0], third[1].devices) == (names[2], first[1].devices)


def test_small_jobs_share_a_device_and_leave_the_other_whole(store: Store) -> None:
    for memory in (400, 500, None):
        put(store, devices=1, device_memory=memory)
    leases = [found[1] for found in (next_for(store), next_for(store), next_for(store)) if found]
    assert [lease.devices for lease in leases] == [("GPU-a",), ("GPU-a",), ("GPU-b",)]
    assert held(store) == {"GPU-a": 900, "GPU-b": 1000}


def test_jobs_without_need_start_whatever_is_held_and_see_no_device(store: Store) -> None:
    put(store, devices=2)
    put(store, devices=2)
    embedded = put(store)
    assert next_for(store) is not None
    found = next_for(store)
    assert found is not None
    assert found[0] == embedded.id
    assert found[1].devices == ()


def test_without_gpus_the_queue_goes_on_as_if_no_job_needed_any(store: Store) -> None:
    job = put(store, devices=8)
    claimed, lease = take(store)
    assert (claimed.id, lease.devices) == (job.id, None)


def test_devices_of_a_killed_worker_are_free_at_once(any_store: Store) -> None:
    killed = this_process().rpartition(":")[0] + ":0"  # this process's number, another start
    put(any_store, devices=2)
    assert next_for(any_store, killed) is not None
    again = next_for(any_store, this_process())
    assert again is not None
    assert held(any_store) == {"GPU-a": 1000, "GPU-b": 1000}


def test_a_worker_that_lost_its_devices_cannot_lengthen_its_lease(open_sqlite: OpenStore) -> None:
    clock = [1000.0]
    store = open_sqlite(clock=lambda: clock[0])
    low = put(store, devices=2)
    first = next_for(store)
    assert first is not None
    high = put(store, devices=2, priority=5)
    clock[0] += store.settings.lease_seconds + 1
    second = next_for(store)
    assert second is not None
    assert [first[0], second[0]] == [low.id, high.id]
    with pytest.raises(LeaseLost):
        heartbeat(store, first[1])
    assert held(store) == {"GPU-a": 1000, "GPU-b": 1000}


def test_a_large_job_is_overtaken_a_few_times_and_then_waited_for(store: Store) -> None:
    running = put(store, devices=1)
    held_by = next_for(store)
    assert held_by is not None
    assert held_by[0] == running.id
    large = put(store, devices=2)
    small = [put(store, devices=1).id for _ in range(MOST_OVERTAKEN + 2)]
    overtaking = []
    while (found := next_for(store)) is not None:
        overtaking.append(found[0])
        end(store, found[1])
    assert overtaking == small[:MOST_OVERTAKEN]
    end(store, held_by[1])
    found = next_for(store)
    assert found is not None
    assert found[0] == large.id


def test_a_job_that_is_given_back_holds_nothing(store: Store) -> None:
    put(store, devices=2)
    found = next_for(store)
    assert found is not None
    release(store, found[1], crashed=False)
    assert held(store) == {}


def test_a_job_that_no_device_here_can_hold_says_so_once_and_blocks_nobody(store: Store) -> None:
    large = put(store, devices=3)
    small = put(store, devices=1)
    found = next_for(store)
    assert found is not None
    assert found[0] == small.id
    assert next_for(store) is None
    told = [event.message for event in list_events(store, large.id).data if event.level == "warn"]
    assert len(told) == 1
    assert told[0].startswith("The job needs 3 GPU(s) with enough memory each")


def test_no_device_is_ever_over_committed_by_workers_that_claim_at_once(any_store: Store) -> None:
    needs = [(1, 300), (2, 500), (1, None), (1, 700), (2, 100), (2, None), (1, 450), (1, 300)]
    names = {put(any_store, devices=n, device_memory=m).id for n, m in needs * 2}
    done: list[str] = []
    broken: list[dict[str, int]] = []
    capacity = {device.key: device.memory for device in GPUS}

    def work(number: int) -> None:
        for _ in range(400):
            if len(done) == len(names):
                return
            found = next_for(any_store, f"elsewhere:{number}:1")
            now = held(any_store)
            if any(memory > capacity[key] for key, memory in now.items()):
                broken.append(now)
            if found is not None:
                end(any_store, found[1])
                done.append(found[0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert sorted(done) == sorted(names)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.none() | st.integers(1, 1200), st.integers(0, MOST_OVERTAKEN)
        ),
        max_size=8,
    ),
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
)
def test_whoever_is_chosen_fits_and_overtakes_nobody_who_would(
    needs: list[tuple[int, int | None, int]], taken: tuple[int, int]
) -> None:
    waiting = [
        Waiting(id=str(n), devices=count, memory=memory, passed_over=passed)
        for n, (count, memory, passed) in enumerate(needs)
    ]
    used = dict(zip(("GPU-a", "GPU-b"), taken, strict=True))
    choice = choose(waiting, GPUS, used)

    def room(job: Waiting) -> int:
        return sum((job.memory or 1000) + used[device.key] <= device.memory for device in GPUS)

    if choice.id is None:
        blocked = [job for job in waiting if job.devices > room(job)]
        first = next((job for job in blocked if job.passed_over >= MOST_OVERTAKEN), None)
        assert first is not None or len(blocked) == len(waiting)
        return
    chosen = waiting[int(choice.id)]
    assert len(choice.shares) == chosen.devices
    assert all(used[key] + memory <= 1000 for key, memory in choice.shares.items())
    for earlier in waiting[: int(choice.id)]:
        assert earlier.devices > room(earlier)
        assert (earlier.id in choice.overtaken) != (earlier.id in choice.too_large)


DRIVER = """#!/bin/sh
echo '0, GPU-11111111-aaaa, 81559'
echo '1, GPU-22222222-bbbb, 81559'
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(DRIVER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(VISIBLE, raising=False)


@pytest.mark.usefixtures("driver")
def test_the_devices_are_those_that_the_driver_lists_and_the_server_may_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = find_devices("auto")
    assert (first.key, first.memory, first.visible) == (
        "GPU-11111111-aaaa",
        81559,
        "GPU-11111111-aaaa",
    )
    monkeypatch.setenv(VISIBLE, "1")
    assert find_devices("auto") == (second,)
    monkeypatch.setenv(VISIBLE, "GPU-1111")
    assert find_devices("auto") == (first,)
    assert find_devices("none") == ()
    assert find_devices("1:40") == (Device(key=second.key, memory=40 * 1024),)


def test_listed_devices_without_a_driver_have_the_memory_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_devices("auto") == ()
    found = find_devices("0:1, 3:2.5")
    assert [device.memory for device in found] == [1024, 2560]
    assert visible(device.key for device in found) == "0,3"
    for wrong in ("0", "0:", "0:much", "0:0", "0:inf", "../x:1"):
        with pytest.raises(InvalidInput, match="SELFTUNE_DEVICES"):
            find_devices(wrong)
