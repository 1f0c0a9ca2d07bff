"""The queue: one owner a job, and nobody else writes for it."""

import threading
from collections.abc import Callable

import pytest
from tests.conftest import OpenStore

from selftune.core.errors import Cancelled, InvalidInput, LeaseLost, NotFound
from selftune.core.records import Job, JobError, JobStatus
from selftune.jobs.events import NewEvent, append_events, events_since, list_events
from selftune.jobs.queue import (
    JobQuery,
    Lease,
    cancel_job,
    claim,
    ended_jobs,
    enqueue,
    fenced,
    get_job,
    heartbeat,
    is_pause_requested,
    list_jobs,
    move,
    release,
    request_pause,
    resume_job,
    update_state,
)
from selftune.jobs.states import MOVES, TERMINAL, check_move
from selftune.store.accounts import DEFAULT_PROJECT, create_project
from selftune.store.owners import is_gone, this_process
from selftune.store.store import Store
from selftune.store.webhooks import add_endpoint, claim_delivery

KIND = "fine_tuning"


def put(store: Store, **fields: object) -> Job:
    values = {
        "id": store.ids.new("ftjob-"),
        "project_id": DEFAULT_PROJECT,
        "kind": KIND,
        "status": "validating_files",
        "spec": {"n": 1},
        "created_at": store.now(),
    }
    job = Job.model_validate(values | fields)
    with store.db.write() as connection:
        enqueue(store, connection, job, (NewEvent(key="created", message="Created"),))
    return job


def take(store: Store, owner: str = "elsewhere:1:1") -> tuple[Job, Lease]:
    claimed = claim(store, owner)
    assert claimed is not None
    return claimed


def advance(store: Store, lease: Lease, *through: JobStatus) -> None:
    for status in through:
        with fenced(store, lease) as (connection, job):
            move(store, connection, job, status)


def status(store: Store, job: Job) -> JobStatus:
    return get_job(store, DEFAULT_PROJECT, job.id).status


def test_a_job_is_stored_whole_and_seen_in_its_project_only(any_store: Store) -> None:
    job = put(any_store, metadata={"team": "a"}, priority=3)
    assert get_job(any_store, DEFAULT_PROJECT, job.id) == job
    other = create_project(any_store, "other").id
    with pytest.raises(NotFound, match=f"^Could not find fine tune: {job.id}$") as caught:
        get_job(any_store, other, job.id)
    assert (caught.value.code, caught.value.param) == ("fine_tune_not_found", "fine_tune_id")
    with pytest.raises(NotFound):
        cancel_job(any_store, other, job.id)


def test_jobs_are_taken_by_priority_then_age(any_store: Store) -> None:
    jobs = [put(any_store, priority=priority) for priority in (0, 5, 0, 5)]
    taken = [take(any_store)[0].id for _ in jobs]
    assert taken == [jobs[1].id, jobs[3].id, jobs[0].id, jobs[2].id]
    assert claim(any_store, "elsewhere:1:1") is None


def test_a_job_has_one_owner_however_many_want_it(any_store: Store) -> None:
    for _ in range(10):
        put(any_store)
    taken: list[str] = []

    def work() -> None:
        while (claimed := claim(any_store, this_process())) is not None:
            taken.append(claimed[0].id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 10


def test_a_lease_that_is_not_renewed_goes_to_another_and_its_old_owner_writes_nothing(
    open_sqlite: OpenStore,
) -> None:
    now = [1_000_000.0]
    store = open_sqlite(clock=lambda: now[0], lease_seconds=10)
    job = put(store)
    _, old = take(store)
    now[0] += 8
    heartbeat(store, old)
    now[0] += 8
    assert claim(store, "elsewhere:2:2") is None
    now[0] += 3
    _, new = take(store, "elsewhere:2:2")

    def write(lease: Lease) -> None:
        with fenced(store, lease) as (connection, held):
            append_events(store, connection, held.id, (NewEvent(key="x", message="x"),))

    with pytest.raises(LeaseLost):
        write(old)
    with pytest.raises(LeaseLost):
        heartbeat(store, old)
    with pytest.raises(LeaseLost):
        is_pause_requested(store, old)
    assert len(events_since(store, job.id, 0)) == 1
    write(new)
    assert len(events_since(store, job.id, 0)) == 2


def test_the_job_of_a_dead_process_of_this_machine_is_free_at_once(any_store: Store) -> None:
    put(any_store)
    machine, _, start = this_process().rsplit(":", 2)
    dead = f"{machine}:4194304:{start}"  # above the largest process id
    assert is_gone(dead)
    take(any_store, dead)
    claimed = claim(any_store, this_process())
    assert claimed is not None
    assert claimed[0].attempts == 1  # a dead worker says nothing against the job
    assert claim(any_store, this_process()) is None


def test_nobody_can_tell_whether_a_process_of_another_machine_lives() -> None:
    assert not is_gone("elsewhere:4194304:1")
    assert not is_gone("nonsense")
    assert not is_gone(this_process())


def test_crashes_count_and_a_stop_does_not(any_store: Store) -> None:
    put(any_store)
    for attempts in (1, 2, 3):
        job, lease = take(any_store)
        assert job.attempts == attempts
        release(any_store, lease, crashed=True)
    job, lease = take(any_store)
    release(any_store, lease, crashed=False)
    assert take(any_store)[0].attempts == 4


def test_cancel_ends_a_job_in_any_state_that_has_a_future(any_store: Store) -> None:
    waiting, leased = put(any_store), put(any_store, priority=1)
    _, lease = take(any_store)
    advance(any_store, lease, "queued", "running")
    for job in (waiting, leased):
        cancelled = cancel_job(any_store, DEFAULT_PROJECT, job.id)
        assert cancelled.status == "cancelled"
        assert cancelled.finished_at is not None
        with pytest.raises(InvalidInput, match="has status 'cancelled'"):
            cancel_job(any_store, DEFAULT_PROJECT, job.id)
    with pytest.raises(Cancelled):
        heartbeat(any_store, lease)
    with pytest.raises(Cancelled):
        is_pause_requested(any_store, lease)
    assert claim(any_store, "elsewhere:1:1") is None
    assert ended_jobs(any_store, [waiting.id, leased.id, "other"]) == {waiting.id, leased.id}


def test_pause_asks_the_owner_and_resume_queues_again(any_store: Store) -> None:
    job = put(any_store)
    with pytest.raises(InvalidInput, match="cannot become 'pausing'"):
        request_pause(any_store, DEFAULT_PROJECT, job.id)
    _, lease = take(any_store)
    advance(any_store, lease, "queued", "running")
    assert not is_pause_requested(any_store, lease)
    assert request_pause(any_store, DEFAULT_PROJECT, job.id).status == "pausing"
    assert request_pause(any_store, DEFAULT_PROJECT, job.id).status == "pausing"
    assert is_pause_requested(any_store, lease)
    with pytest.raises(InvalidInput, match="only a paused job resumes"):
        resume_job(any_store, DEFAULT_PROJECT, job.id)
    advance(any_store, lease, "paused")
    assert claim(any_store, "elsewhere:1:1") is None
    assert resume_job(any_store, DEFAULT_PROJECT, job.id).status == "queued"
    again, lease = take(any_store)
    assert (again.id, again.attempts) == (job.id, 1)
    assert not is_pause_requested(any_store, lease)


def test_pause_of_a_running_job_that_lost_its_worker_is_done_at_once(any_store: Store) -> None:
    job = put(any_store)
    _, lease = take(any_store)
    advance(any_store, lease, "queued", "running")
    release(any_store, lease, crashed=True)
    assert request_pause(any_store, DEFAULT_PROJECT, job.id).status == "paused"


def test_an_end_keeps_what_was_found_and_why(any_store: Store) -> None:
    job = put(any_store, state={"a": 1})
    _, lease = take(any_store)
    error = JobError(code="bad", message="Bad data", param="training_file")
    with fenced(any_store, lease) as (connection, held):
        update_state(connection, held, {"b": 2})
        move(any_store, connection, held, "failed", error=error)
    ended = get_job(any_store, DEFAULT_PROJECT, job.id)
    assert (ended.state, ended.error, ended.status) == ({"a": 1, "b": 2}, error, "failed")


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled"])
def test_each_end_is_announced_once(any_store: Store, outcome: JobStatus) -> None:
    add_endpoint(any_store, DEFAULT_PROJECT, "http://127.0.0.1:9/hook")
    put(any_store)
    _, lease = take(any_store)
    advance(any_store, lease, "queued", "running", outcome)
    delivery = claim_delivery(any_store, for_seconds=60)
    assert delivery is not None
    assert f'"fine_tuning.job.{outcome}"' in delivery.body
    assert claim_delivery(any_store, for_seconds=60) is None


def test_listing_filters_by_metadata_and_goes_on_after_a_job(any_store: Store) -> None:
    odd = {"it's": 'a "quoted" value', "n": "1"}
    jobs = [put(any_store, metadata=pairs).id for pairs in (None, odd, {"n": "1"}, None)]
    put(any_store, kind="other")

    def listed(**wanted: object) -> list[str]:
        query = JobQuery.model_validate(wanted)
        return [job.id for job in list_jobs(any_store, DEFAULT_PROJECT, KIND, query).data]

    assert listed() == jobs[::-1]
    assert listed(metadata={"n": "1"}) == [jobs[2], jobs[1]]
    assert listed(metadata=odd) == [jobs[1]]
    assert listed(without_metadata=True) == [jobs[3], jobs[0]]
    assert listed(after=jobs[2], limit=1) == [jobs[1]]
    with pytest.raises(InvalidInput):
        listed(after="ftjob-unknown")


def test_events_have_no_gaps_and_no_repeats(any_store: Store) -> None:
    job = put(any_store)
    _, lease = take(any_store)

    def say(*keys: str) -> int:
        with fenced(any_store, lease) as (connection, held):
            new = tuple(NewEvent(key=key, message=key) for key in keys)
            return append_events(any_store, connection, held.id, new)

    assert say("a", "b", "b") == 2
    assert say("a", "c") == 1
    assert say("a") == 0
    found = events_since(any_store, job.id, 0)
    assert [(one.sequence, one.key) for one in found] == [
        (1, "created"),
        (2, "a"),
        (3, "b"),
        (4, "c"),
    ]
    page = list_events(any_store, job.id, limit=2)
    assert [one.key for one in page.data] == ["c", "b"]
    assert page.has_more
    rest = list_events(any_store, job.id, after=page.data[-1].id)
    assert [one.key for one in rest.data] == ["a", "created"]
    with pytest.raises(InvalidInput):
        list_events(any_store, job.id, after="ftevent-unknown")


def test_events_from_two_sides_at_once_stay_in_one_order(any_store: Store) -> None:
    job = put(any_store)
    _, lease = take(any_store)
    advance(any_store, lease, "queued", "running")

    def child() -> None:
        for n in range(30):
            with fenced(any_store, lease) as (connection, held):
                new = (NewEvent(key=f"step-{n}", message="step"),)
                append_events(any_store, connection, held.id, new)

    def run(target: Callable[[], None]) -> None:
        try:
            target()
        except Cancelled:
            return

    threads = [
        threading.Thread(target=run, args=(target,))
        for target in (child, child, lambda: cancel_job(any_store, DEFAULT_PROJECT, job.id))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = events_since(any_store, job.id, 0)
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    assert found[-1].key == "cancelled"


def test_every_state_can_be_left_or_is_final() -> None:
    assert {"succeeded", "failed", "cancelled"} == TERMINAL
    for state, moves in MOVES.items():
        for wanted in MOVES:
            if wanted in moves:
                check_move("ftjob-x", state, wanted)
            else:
                with pytest.raises(InvalidInput, match="Possible from here"):
                    check_move("ftjob-x", state, wanted)
