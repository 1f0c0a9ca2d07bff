"""A checkpoint is shared with another project, whose key may then use it, and no longer when not."""

import re
from collections.abc import Callable

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from tests.wire.conftest import Server
from tests.wire.test_python_client import ask, ended, rows

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def owner(server: Server) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)


@pytest.fixture(scope="module")
def checkpoint(owner: OpenAI) -> str:
    """Give a checkpoint of an earlier epoch."""
    file = owner.files.create(file=("train.jsonl", rows(12)), purpose="fine-tune")
    job = owner.fine_tuning.jobs.create(model="selftune/fake", training_file=file.id)
    assert ended(owner, job).status == "succeeded"
    return list(owner.fine_tuning.jobs.checkpoints.list(job.id))[1].fine_tuned_model_checkpoint


@pytest.fixture(scope="module")
def join(server: Server) -> Callable[[str], tuple[OpenAI, str]]:
    """Return what makes a project; it gives a client with a key of it, and its id."""

    def joined(name: str) -> tuple[OpenAI, str]:
        key = server.selftune("keys", "create", f"key of {name}", "--project", name)
        listed = server.selftune("keys", "list")
        line = next(each for each in listed.splitlines() if f"key of {name}" in each)
        project = re.search(r"proj_\w+", line)
        assert project is not None
        return OpenAI(base_url=server.base_url, api_key=key, max_retries=0), project[0]

    return joined


def test_a_shared_checkpoint_is_usable_until_the_permission_ends(
    owner: OpenAI, checkpoint: str, join: Callable[[str], tuple[OpenAI, str]]
) -> None:
    other, project_id = join("guests")
    permissions = owner.fine_tuning.checkpoints.permissions
    assert checkpoint not in {model.id for model in other.models.list()}
    with pytest.raises(NotFoundError, match="does not exist or you do not have access"):
        ask(other, checkpoint, "question number 1")

    (granted,) = permissions.create(checkpoint, project_ids=[project_id]).data
    assert (granted.object, granted.project_id) == ("checkpoint.permission", project_id)
    assert ask(other, checkpoint, "question number 1") == "label 1"
    assert other.models.retrieve(checkpoint).id == checkpoint
    assert checkpoint in {model.id for model in other.models.list()}
    (again,) = permissions.create(checkpoint, project_ids=[project_id]).data
    assert again.id == granted.id

    removed = permissions.delete(granted.id, fine_tuned_model_checkpoint=checkpoint)
    assert (removed.id, removed.deleted) == (granted.id, True)
    with pytest.raises(NotFoundError):
        ask(other, checkpoint, "question number 1")
    assert list(permissions.list(checkpoint)) == []
    with pytest.raises(NotFoundError):
        permissions.delete(granted.id, fine_tuned_model_checkpoint=checkpoint)


def test_permissions_are_listed_by_page_order_and_project(
    owner: OpenAI, checkpoint: str, join: Callable[[str], tuple[OpenAI, str]]
) -> None:
    projects = [join(name)[1] for name in ("first", "second", "third")]
    permissions = owner.fine_tuning.checkpoints.permissions
    made = [permissions.create(checkpoint, project_ids=[each]).data[0].id for each in projects]
    assert [each.id for each in permissions.list(checkpoint, limit=1)] == made[::-1]
    assert [each.id for each in permissions.list(checkpoint, order="ascending", limit=2)] == made
    found = list(permissions.list(checkpoint, project_id=projects[1]))
    assert [each.project_id for each in found] == [projects[1]]
    for each in made:
        permissions.delete(each, fine_tuned_model_checkpoint=checkpoint)


def test_only_the_owner_says_who_may_use_it(
    owner: OpenAI, checkpoint: str, join: Callable[[str], tuple[OpenAI, str]]
) -> None:
    other, project_id = join("curious")
    theirs = other.fine_tuning.checkpoints.permissions
    with pytest.raises(NotFoundError):
        theirs.create(checkpoint, project_ids=[project_id])
    with pytest.raises(NotFoundError):
        list(theirs.list(checkpoint))
    mine = owner.fine_tuning.checkpoints.permissions
    (granted,) = mine.create(checkpoint, project_ids=[project_id]).data
    with pytest.raises(NotFoundError):  # who may use it may not share it
        theirs.create(checkpoint, project_ids=[project_id])
    with pytest.raises(NotFoundError):
        theirs.delete(granted.id, fine_tuned_model_checkpoint=checkpoint)
    with pytest.raises(NotFoundError):
        other.models.delete(checkpoint)
    mine.delete(granted.id, fine_tuned_model_checkpoint=checkpoint)


def test_an_unknown_project_is_refused(owner: OpenAI, checkpoint: str) -> None:
    with pytest.raises(BadRequestError, match="No such project: 'proj_nothing'"):
        owner.fine_tuning.checkpoints.permissions.create(checkpoint, project_ids=["proj_nothing"])
