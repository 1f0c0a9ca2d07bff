"""Jobs of open models say how much of a GPU they need, so that small ones share one."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import OpenStore, stored_file
from tests.made_models import make_model

from selftune.core.records import Job, TrainOptions
from selftune.jobs.devices import find_devices
from selftune.jobs.queue import claim
from selftune.models.memory import footprint, shape_of_folder
from selftune.models.own_catalog import add_base
from selftune.store.accounts import default_identity
from selftune.store.files import save_file
from selftune.store.store import Store
from selftune.train.create import FinetuneRequest, create_finetuning_job

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base"), "llama")


def store_with(open_sqlite: OpenStore, base: Path, devices: str) -> Store:
    store: Store = open_sqlite(devices=devices)
    add_base(store.root, {"id": "tiny/llama", "source": str(base)})
    return store


def created(store: Store, count: int = 400, model: str = "tiny/llama", **asked: Any) -> Job:
    file = stored_file(store, (json.dumps(ROW) + "\n").encode() * count)
    save_file(store, file)
    request = FinetuneRequest(
        model=model, training_file=file.id, validation_file=file.id, seed=1, **asked
    )
    return create_finetuning_job(store, default_identity(store), request)


def test_two_small_jobs_share_a_gpu(open_sqlite: OpenStore, base: Path) -> None:
    store = store_with(open_sqlite, base, "0:4")
    jobs = [created(store), created(store)]
    devices = find_devices("0:4")
    leases = [claim(store, f"elsewhere:{n}:1", devices=devices) for n in (1, 2)]
    assert [found[1].devices for found in leases if found] == [(devices[0].key,)] * 2
    whole = footprint(shape_of_folder(base), "lora", tokens=16_384).total
    for job in jobs:
        assert job.device_memory is not None
        assert whole < job.device_memory * MEBIBYTE < 1.3 * whole


def test_more_is_asked_for_where_every_weight_learns_or_rows_are_many(
    open_sqlite: OpenStore, base: Path
) -> None:
    store = store_with(open_sqlite, base, "0:40")
    needs = [
        created(store, 8).device_memory,
        created(store).device_memory,
        created(store, options=TrainOptions(precision="float32")).device_memory,
        created(store, options=TrainOptions(precision="float32", rank=512)).device_memory,
    ]
    known = [need for need in needs if need is not None]
    assert len(known) == 4
    assert known == sorted(set(known))


def test_a_job_whose_need_is_not_known_gets_a_whole_gpu(open_sqlite: OpenStore, base: Path) -> None:
    store = store_with(open_sqlite, base, "0:40")
    grader = {"type": "string_check", "name": "n", "input": "a", "reference": "a"}
    rewarded = created(store, method="reinforcement", grader=grader | {"operation": "eq"})
    embedded = created(store, model="selftune/fake")
    add_base(store.root, {"id": "tiny/absent", "source": "models/absent"})
    absent = created(store, model="tiny/absent")
    assert [job.device_memory for job in (rewarded, embedded, absent)] == [None] * 3
    assert [job.devices for job in (rewarded, embedded, absent)] == [1, 0, 1]


@pytest.mark.parametrize("devices", ["none", "0:1"])
def test_no_share_is_named_where_none_would_do(
    open_sqlite: OpenStore, base: Path, devices: str
) -> None:
    assert created(store_with(open_sqlite, base, devices)).device_memory is None
