"""Models and checkpoints: who sees them, and what goes with them."""

from functools import partial

import pytest

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Checkpoint, Job, Model
from selftune.jobs.queue import enqueue
from selftune.store.accounts import DEFAULT_PROJECT, create_project
from selftune.store.checkpoints import (
    insert_checkpoint,
    last_state,
    list_checkpoints,
    retire_checkpoints,
)
from selftune.store.models import (
    delete_model,
    folders_in_use,
    get_model,
    grant_permissions,
    insert_model,
    list_models,
    list_permissions,
    revoke_permission,
)
from selftune.store.store import Store

FINAL = "ft:base:org::abcdefgh"


def trained(store: Store, steps: int = 4, *, steps_per_epoch: int = 1) -> Job:
    """Store a job with a checkpoint a step, the last of them the model."""
    job = Job(
        id=store.ids.new("ftjob-"),
        project_id=DEFAULT_PROJECT,
        kind="fine_tuning",
        status="running",
        spec={},
        created_at=1,
    )
    with store.db.write() as connection:
        enqueue(store, connection, job, ())
        for step in range(1, steps + 1):
            name = FINAL if step == steps else f"{FINAL}:ckpt-step-{step}"
            checkpoint = Checkpoint(
                id=store.ids.new("ftckpt_"),
                job_id=job.id,
                step=step,
                epoch=-(-step // steps_per_epoch),
                created_at=step,
                model=name,
                folder=f"models/{step}",
                metrics={"step": step, "train_loss": 0.5},
            )
            state = f"runs/state-{step}"
            store_it = partial(insert_checkpoint, connection, checkpoint, state_folder=state)
            assert store_it(servable=True)
            assert not store_it(servable=True)
            model = Model(
                id=name,
                project_id=DEFAULT_PROJECT,
                base="base",
                engine="fake",
                folder=checkpoint.folder,
                job_id=job.id,
                created_at=step,
            )
            insert_model(connection, model, is_checkpoint=step < steps)
    return job


def test_checkpoints_are_listed_highest_step_first(any_store: Store) -> None:
    job = trained(any_store)
    page = list_checkpoints(any_store, job.id, limit=3)
    assert [one.step for one in page.data] == [4, 3, 2]
    assert page.has_more
    rest = list_checkpoints(any_store, job.id, after=page.data[-1].id)
    assert [one.step for one in rest.data] == [1]
    assert last_state(any_store, job.id) == "runs/state-4"
    assert last_state(any_store, "ftjob-none") is None
    with pytest.raises(InvalidInput):
        list_checkpoints(any_store, job.id, after="ftckpt_none")


def test_a_retired_checkpoint_is_no_model_any_more(any_store: Store) -> None:
    job = trained(any_store)
    with any_store.db.write() as connection:
        assert set(retire_checkpoints(connection, job.id, keep=2)) == {"models/1", "models/2"}
        assert retire_checkpoints(connection, job.id, keep=2) == ()
    assert [one.step for one in list_checkpoints(any_store, job.id).data] == [4, 3]
    assert folders_in_use(any_store) == {"models/3", "models/4"}
    with pytest.raises(NotFound):
        get_model(any_store, DEFAULT_PROJECT, f"{FINAL}:ckpt-step-1")


def test_checkpoints_are_retired_by_epoch_however_many_it_has(any_store: Store) -> None:
    job = trained(any_store, steps=5, steps_per_epoch=2)
    with any_store.db.write() as connection:
        assert set(retire_checkpoints(connection, job.id, keep=2)) == {"models/1", "models/2"}
    assert [one.step for one in list_checkpoints(any_store, job.id).data] == [5, 4, 3]


def test_only_finished_models_are_listed(any_store: Store) -> None:
    trained(any_store)
    assert [model.id for model in list_models(any_store, DEFAULT_PROJECT)] == [FINAL]


def test_another_project_sees_a_checkpoint_when_it_was_shared(any_store: Store) -> None:
    trained(any_store)
    other = create_project(any_store, "other").id
    name = f"{FINAL}:ckpt-step-2"
    text = f"The model `{name}` does not exist or you do not have access to it."
    with pytest.raises(NotFound) as caught:
        get_model(any_store, other, name)
    assert (caught.value.message, caught.value.code) == (text, "model_not_found")
    (permission,) = grant_permissions(any_store, DEFAULT_PROJECT, name, (other,))
    assert grant_permissions(any_store, DEFAULT_PROJECT, name, (other,)) == (permission,)
    assert get_model(any_store, other, name).id == name
    assert [model.id for model in list_models(any_store, other)] == [name]
    assert list_permissions(any_store, DEFAULT_PROJECT, name) == (permission,)
    revoke_permission(any_store, DEFAULT_PROJECT, name, permission.id)
    with pytest.raises(NotFound):
        get_model(any_store, other, name)
    with pytest.raises(NotFound):
        revoke_permission(any_store, DEFAULT_PROJECT, name, permission.id)


def test_a_project_that_was_lent_a_checkpoint_cannot_pass_it_on_or_delete_it(
    any_store: Store,
) -> None:
    trained(any_store)
    other, third = (create_project(any_store, name).id for name in ("other", "third"))
    grant_permissions(any_store, DEFAULT_PROJECT, FINAL, (other,))
    with pytest.raises(NotFound):
        grant_permissions(any_store, other, FINAL, (third,))
    with pytest.raises(NotFound):
        list_permissions(any_store, other, FINAL)
    with pytest.raises(NotFound):
        delete_model(any_store, other, FINAL)
    with pytest.raises(InvalidInput, match="No such project"):
        grant_permissions(any_store, DEFAULT_PROJECT, FINAL, ("proj_none",))


def test_a_deleted_model_is_gone_everywhere(any_store: Store) -> None:
    job = trained(any_store)
    assert delete_model(any_store, DEFAULT_PROJECT, FINAL).folder == "models/4"
    with pytest.raises(NotFound):
        get_model(any_store, DEFAULT_PROJECT, FINAL)
    assert [one.step for one in list_checkpoints(any_store, job.id).data] == [3, 2, 1]
    with pytest.raises(NotFound, match=f"^The model '{FINAL}' does not exist$"):
        delete_model(any_store, DEFAULT_PROJECT, FINAL)
