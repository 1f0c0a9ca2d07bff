"""A program whose address moved here goes on: ids and files of its account work as they did."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from tests.rescue.beside import ROW, START, entry, made_archive
from tests.rescue.proxied import FAKE, Proxied, proxied
from tests.rescue.stand_in import Account, StandIn

from selftune.rescue.archive.format import Entry
from selftune.rescue.cutover import switch

JOB: dict[str, Any] = {"model": FAKE}
BATCH: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
LINE = (
    b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}\n'
)


@pytest.fixture(scope="module")
def moved(account: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    home = tmp_path_factory.mktemp("moved")
    with proxied(home, account.base_url, upstream_key=account.key) as server:
        yield server


@pytest.fixture
def through(moved: Proxied) -> Iterator[OpenAI]:
    with moved.client() as client:
        yield client


@pytest.fixture
def direct(account: StandIn) -> Iterator[OpenAI]:
    with account.client() as client:
        yield client


def seen(client: OpenAI, account: Account) -> list[Any]:
    """Ask for things of each kind by their ids."""
    jobs, evals = client.fine_tuning.jobs, client.evals
    permissions = client.fine_tuning.checkpoints.permissions
    (eval_id, run), job = account.runs[0], account.jobs[0]
    one = [
        client.files.retrieve(account.files[0]),
        jobs.retrieve(job),
        client.batches.retrieve(account.batches[0]),
        evals.retrieve(eval_id),
        evals.runs.retrieve(run, eval_id=eval_id),
        client.chat.completions.retrieve(account.completions[0]),
        client.models.retrieve(account.models[0]),
    ]
    many = [
        *jobs.list_events(job, limit=3),
        *jobs.checkpoints.list(job, limit=1),
        *permissions.list(account.checkpoints[0]),
        *evals.runs.list(eval_id),
        *evals.runs.output_items.list(run, eval_id=eval_id, limit=7),
    ]
    assert len(many) > 20
    content = client.files.content(account.files[0]).content
    return [content, *(each.to_dict() for each in (*one, *many))]


def test_ids_of_the_account_are_answered_as_there(
    account: StandIn, through: OpenAI, direct: OpenAI
) -> None:
    assert seen(through, account.account) == seen(direct, account.account)
    with pytest.raises(openai.NotFoundError, match="file-nobody"):
        through.files.retrieve("file-nobody")
    kinds = (through.files, through.fine_tuning.jobs, through.batches, through.evals)
    listed = {each.id for kind in kinds for each in kind.list()}
    there = account.account
    assert listed.isdisjoint({*there.files, *there.jobs, *there.batches, *there.evals})


def test_what_changes_a_thing_of_the_account_reaches_it(
    account: StandIn, moved: Proxied, direct: OpenAI
) -> None:
    file = direct.files.create(file=("a.jsonl", LINE), purpose="batch")
    training = direct.files.create(file=("t.jsonl", ROW), purpose="fine-tune")
    batch = direct.batches.create(input_file_id=file.id, **BATCH)
    job = direct.fine_tuning.jobs.create(training_file=training.id, **JOB)
    named = account.account.evals[0]

    async def change() -> None:
        async with AsyncOpenAI(base_url=moved.url, api_key=moved.key, max_retries=0) as client:
            assert (await client.batches.cancel(batch.id)).status == "cancelled"
            assert (await client.fine_tuning.jobs.cancel(job.id)).status == "cancelled"
            assert (await client.evals.update(named, name="other")).name == "other"
            assert (await client.files.delete(file.id)).deleted
            own = await client.files.create(file=("a.jsonl", LINE), purpose="batch")
            assert (await client.files.delete(own.id)).deleted
            assert account.app.asked[f"DELETE /v1/files/{own.id}"] == 0

    asyncio.run(change())
    assert direct.batches.retrieve(batch.id).status == "cancelled"
    assert direct.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
    assert direct.evals.retrieve(named).name == "other"
    with pytest.raises(openai.NotFoundError):
        direct.files.retrieve(file.id)


def test_new_work_goes_where_its_file_is(
    account: StandIn, through: OpenAI, direct: OpenAI, moved: Proxied
) -> None:
    homes: list[list[str]] = []
    for client in (direct, through):
        file = client.files.create(file=("t.jsonl", ROW), purpose="fine-tune").id
        lines = client.files.create(file=("b.jsonl", LINE), purpose="batch").id
        job = through.fine_tuning.jobs.create(training_file=file, **JOB)
        homes.append([job.id, through.batches.create(input_file_id=lines, **BATCH).id])
    jobs, batches = direct.fine_tuning.jobs.list(), direct.batches.list()
    there = {each.id for each in (*jobs, *batches)}
    assert there >= set(homes[0])
    assert there.isdisjoint(homes[1])
    eval_id, run = account.account.runs[0]
    source: Any = direct.evals.runs.retrieve(run, eval_id=eval_id).data_source.to_dict()
    again = through.evals.runs.create(eval_id, data_source=source | {"model": FAKE})
    assert direct.evals.runs.retrieve(again.id, eval_id=eval_id).to_dict() == again.to_dict()
    bodies: tuple[Any, ...] = ({"training_file": 3}, [], {"model": FAKE})
    for body in bodies:
        assert moved.http.post("/fine_tuning/jobs", json=body).status_code == 400
    with pytest.raises(openai.BadRequestError, match="file-none"):
        through.fine_tuning.jobs.create(training_file="file-none", **JOB)


def test_a_part_of_an_upload_reaches_the_account_whole(through: OpenAI, direct: OpenAI) -> None:
    content = ROW * 5000
    upload = direct.uploads.create(
        bytes=len(content), filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune"
    )
    part = through.uploads.parts.create(upload.id, data=content)
    done = through.uploads.complete(upload.id, part_ids=[part.id])
    assert done.file is not None
    assert through.files.content(done.file.id).content == content


def test_an_archive_is_served_beside_the_account(
    account: StandIn, direct: OpenAI, tmp_path: Path
) -> None:
    there = account.account
    model = there.models[0]
    lost = Entry(kind="file", id=there.files[0], state="failed", fetched_at=START)
    archive = made_archive(
        tmp_path / "archive",
        entry("file", "file-old", filename="old.jsonl", created_at=START),
        entry("model", model, owned_by="the archive"),
        entry("job", there.jobs[0], created_at=START, status="archived"),
        lost,
    )
    with (
        proxied(
            tmp_path / "home", account.base_url, upstream_key=account.key, archive=archive
        ) as proxy,
        proxy.client() as client,
    ):

        def answered_by() -> str:
            asked: Any = [{"role": "user", "content": "hello"}]
            raw = client.chat.completions.with_raw_response
            return str(raw.create(model=model, messages=asked).headers["x-selftune-answered-by"])

        before = account.app.asked.total()
        own = client.files.create(file=("t.jsonl", ROW), purpose="fine-tune")
        assert client.files.retrieve("file-old").filename == "old.jsonl"
        assert [each.id for each in client.files.list()] == [own.id, "file-old"]
        assert client.models.retrieve(model).owned_by == "the archive"
        assert client.fine_tuning.jobs.retrieve(there.jobs[0]).to_dict()["status"] == "archived"
        with pytest.raises(openai.BadRequestError, match="read-only"):
            client.files.delete("file-old")
        with pytest.raises(openai.BadRequestError, match="the content of the file 'file-old'"):
            client.fine_tuning.jobs.create(training_file="file-old", **JOB)
        assert account.app.asked.total() == before
        for name in there.files[:2]:  # of which the archive lacks one, and never heard of the other
            assert client.files.retrieve(name) == direct.files.retrieve(name)
        assert answered_by() == "upstream"
        switch(proxy.store, model, "replacement", replacement=FAKE)
        assert answered_by() == "replacement"
