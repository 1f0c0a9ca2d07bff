"""The folder of a deleted model stays as long as other models, or jobs, stand on it."""

import json
from pathlib import Path

import pytest
from tests.api.evals_asking import got
from tests.test_worker import create

from selftune.core.errors import NotFound
from selftune.core.records import JobStatus, Model, TrainSpec
from selftune.jobs.queue import cancel_job, move
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.models import get_model, insert_model
from selftune.store.store import Store
from selftune.train.leftovers import remove_leftovers, remove_model
from selftune.train.request import request_of

STATUSES: tuple[JobStatus, ...] = ("queued", "running", "succeeded")


def trained(store: Store, model: str = "selftune/fake", on: Path | None = None) -> Model:
    """Return the model of a job that succeeded; an adapter where it is told on what."""
    job = create(store, model=model)
    folder = store.folder("models") / f"{job.id}-step-1"
    folder.mkdir()
    if on is not None:
        told = {"id": "selftune/fake", "folder": str(on), "fingerprint": "f"}
        (folder / "base.json").write_text(json.dumps(told))
    made = Model(
        id=str(job.state["fine_tuned_model"]),
        project_id=DEFAULT_PROJECT,
        base=model,
        engine="fake",
        folder=f"models/{folder.name}",
        job_id=job.id,
        created_at=1,
    )
    with store.db.write() as connection:
        for status in STATUSES:
            job = move(store, connection, job, status)
        insert_model(connection, made, is_checkpoint=False)
    return made


def folder_of(store: Store, model: Model) -> Path:
    return store.root / str(model.folder)


def delete(store: Store, model: Model) -> None:
    """Delete a model through the API, then clean up as a worker does."""
    assert got(store, "DELETE", f"models/{model.id}")["deleted"] is True
    remove_leftovers(store)


def test_a_parent_stays_on_disk_until_its_last_child_is_deleted(store: Store) -> None:
    parent = trained(store)
    where = folder_of(store, parent)
    first, second = (trained(store, parent.id, on=where) for _ in range(2))
    delete(store, parent)
    with pytest.raises(NotFound):
        get_model(store, DEFAULT_PROJECT, parent.id)
    assert where.is_dir()
    delete(store, first)
    assert where.is_dir()
    assert not folder_of(store, first).exists()
    assert got(store, "DELETE", f"models/{second.id}")["deleted"] is True
    assert list(store.folder("models").iterdir()) == []  # at once, without waiting for a clean-up


def test_a_parent_that_is_still_a_model_outlives_its_children(store: Store) -> None:
    parent = trained(store)
    child = trained(store, parent.id, on=folder_of(store, parent))
    delete(store, child)
    assert [path.name for path in store.folder("models").iterdir()] == [
        folder_of(store, parent).name
    ]


def test_a_job_that_waits_goes_on_from_a_model_deleted_meanwhile(store: Store) -> None:
    base = trained(store)
    parent = trained(store, base.id, on=folder_of(store, base))
    waiting = create(store, model=parent.id)
    for model in (parent, base):
        delete(store, model)
    spec = TrainSpec.model_validate(waiting.spec)
    assert request_of(store, waiting, spec).base_folder == folder_of(store, parent)
    assert folder_of(store, parent).is_dir()
    assert folder_of(store, base).is_dir()  # what the adapter was trained on
    cancel_job(store, DEFAULT_PROJECT, waiting.id)
    remove_leftovers(store)
    remove_leftovers(store)
    assert list(store.folder("models").iterdir()) == []


@pytest.mark.parametrize("told", ['{"folder": "/"}', '{"folder": 3}', "[]", "{", "itself"])
def test_a_folder_whose_base_is_no_other_model_goes(store: Store, told: str) -> None:
    odd = trained(store)
    where = folder_of(store, odd)
    text = json.dumps({"folder": str(where)}) if told == "itself" else told
    (where / "base.json").write_text(text)
    remove_model(store, DEFAULT_PROJECT, odd.id)
    assert not where.exists()
