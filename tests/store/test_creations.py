"""A create that is sent twice is carried out once."""

import threading
import time

import pytest
from tests.conftest import OpenStore

from selftune.core.errors import Conflict
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.creations import RETRY_WINDOW_SECONDS, Creation, recall, remember
from selftune.store.store import Store


def create(store: Store, creation: Creation) -> str:
    with store.db.write() as connection:
        earlier = recall(store, connection, creation)
        if earlier is not None:
            return earlier
        made = store.ids.new("ftjob-")
        remember(store, connection, creation, made)
        return made


def asked(**fields: object) -> Creation:
    values = {"project_id": DEFAULT_PROJECT, "fingerprint": "f" * 64} | fields
    return Creation.model_validate(values)


def test_a_repeat_that_says_so_gets_the_first_object(any_store: Store) -> None:
    first = create(any_store, asked())
    assert create(any_store, asked(is_retry=True)) == first
    assert create(any_store, asked()) != first
    assert create(any_store, asked(is_retry=True, fingerprint="e" * 64)) != first
    assert create(any_store, asked(is_retry=True, project_id="proj_other")) != first


def test_a_repeat_after_the_window_is_a_new_request(open_sqlite: OpenStore) -> None:
    now = [1_000_000.0]
    store = open_sqlite(clock=lambda: now[0])
    first = create(store, asked())
    now[0] += RETRY_WINDOW_SECONDS + 1
    assert create(store, asked(is_retry=True)) != first


def test_an_idempotency_key_works_without_a_retry_count(any_store: Store) -> None:
    first = create(any_store, asked(idempotency_key="k"))
    assert create(any_store, asked(idempotency_key="k")) == first
    assert create(any_store, asked(idempotency_key="other")) != first
    with pytest.raises(Conflict, match="was used for another request"):
        create(any_store, asked(idempotency_key="k", fingerprint="e" * 64))


def test_repeats_at_the_same_time_make_one_object(any_store: Store) -> None:
    made: list[str] = []
    creation = asked(is_retry=True)
    barrier = threading.Barrier(6)

    def run() -> None:
        barrier.wait()
        time.sleep(0)
        made.append(create(any_store, creation))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
