"""An archived account is answered under its old ids, beside what is made on this server."""

import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openai import AsyncOpenAI, OpenAI
from tests.rescue.archives import bring
from tests.rescue.beside import ROW, START, Served, all_of, entry, error_of, made_archive, play
from tests.rescue.stand_in import SMALL, Account, StandIn, stand_in

from selftune.core.settings import child_environment, load_settings
from selftune.jobs.queue import claim, get_job
from selftune.models.own_catalog import set_replacement
from selftune.rescue.archive.format import Entry, Kind
from selftune.rescue.archive.reader import Archive
from selftune.store.accounts import DEFAULT_PROJECT, create_key, create_project
from selftune.store.owners import this_process
from selftune.worker import run_child


class Kept(NamedTuple):
    """A stand-in and its archive."""

    played: StandIn
    folder: Path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("rescue")
    with stand_in(folder / "openai", size=SMALL) as played:
        bring(played, folder / "archive")
        yield Kept(played, folder / "archive")


async def lists_of(client: AsyncOpenAI, account: Account) -> dict[str, Any]:
    """Ask for every list of an account, in small pages and both orders."""
    jobs, evals, chats = client.fine_tuning.jobs, client.evals, client.chat.completions
    items, checkpoints = evals.runs.output_items, client.fine_tuning.checkpoints
    found = {
        "models": client.models.list(),
        "jobs": jobs.list(limit=2),
        "jobs of a team": jobs.list(limit=2, metadata={"team": "support"}),
        "jobs of no team": jobs.list(extra_query={"metadata": "null"}),
        "training files": client.files.list(purpose="fine-tune", limit=2),
        "batches": client.batches.list(limit=1),
        "chats of a model": chats.list(model=account.models[0], metadata={"channel": "web"}),
        "chats of no model": chats.list(model="nobody"),
    }
    for order in ("asc", "desc"):
        found |= {
            f"files {order}": client.files.list(order=order, limit=5),
            f"evals {order}": evals.list(order=order, limit=1),
            f"chats {order}": chats.list(order=order, limit=5),
        }
        for eval_id in account.evals:
            found[f"runs of {eval_id} {order}"] = evals.runs.list(eval_id, order=order, limit=1)
        for eval_id, run in account.runs:
            found[f"items of {run} {order}"] = items.list(
                run, eval_id=eval_id, order=order, limit=9
            )
    for eval_id, run in account.runs:
        found[f"failed {run}"] = items.list(run, eval_id=eval_id, status="fail")
        found[f"failed runs of {eval_id}"] = evals.runs.list(eval_id, status="failed")
    for job in account.jobs:
        found[f"events of {job}"] = jobs.list_events(job, limit=50)
        found[f"checkpoints of {job}"] = jobs.checkpoints.list(job, limit=1)
    for name in account.checkpoints:
        found[f"permissions of {name}"] = checkpoints.permissions.list(name)
        found[f"permissions of nobody {name}"] = checkpoints.permissions.list(
            name, project_id="proj_nobody", order="ascending"
        )
    for chat in account.completions:
        found[f"messages of {chat}"] = chats.messages.list(chat, limit=1)
    return {name: await all_of(listing) for name, listing in found.items()}


async def objects_of(client: AsyncOpenAI, account: Account) -> dict[str, Any]:
    """Ask for every object of an account by its id, and for what its files hold."""
    items = [
        (eval_id, run, each.id)
        for eval_id, run in account.runs
        async for each in client.evals.runs.output_items.list(run, eval_id=eval_id, limit=100)
    ]
    asked = {
        **{name: client.models.retrieve(name) for name in account.models},
        **{name: client.files.retrieve(name) for name in account.files},
        **{name: client.fine_tuning.jobs.retrieve(name) for name in account.jobs},
        **{name: client.evals.retrieve(name) for name in account.evals},
        **{run: client.evals.runs.retrieve(run, eval_id=name) for name, run in account.runs},
        **{
            item: client.evals.runs.output_items.retrieve(item, eval_id=name, run_id=run)
            for name, run, item in items
        },
        **{name: client.batches.retrieve(name) for name in account.batches},
        **{name: client.chat.completions.retrieve(name) for name in account.completions},
    }
    found: dict[str, Any] = {name: (await each).to_dict() for name, each in asked.items()}
    for name in account.files:
        content = await client.files.content(name)
        headers = ("content-type", "content-disposition", "content-length")
        found[f"content of {name}"] = (
            content.content,
            [content.response.headers[h] for h in headers],
        )
    return found


def test_every_list_and_object_is_answered_as_the_source_answers_it(
    kept: Kept, tmp_path: Path
) -> None:
    async def scene(here: Served) -> None:
        account = kept.played.account
        async with kept.played.async_client() as there:
            expected = await lists_of(there, account)
            assert sum(map(len, expected.values())) > 300
            found = await lists_of(here.client, account)
            for name, objects in expected.items():
                assert found[name] == objects, name
            objects = await objects_of(there, account)
            assert len(objects) > 2 * SMALL.files + SMALL.items
            assert await objects_of(here.client, account) == objects

    play(scene, Archive.open(kept.folder), tmp_path)


def test_what_is_archived_cannot_be_changed(kept: Kept, tmp_path: Path) -> None:
    async def scene(here: Served) -> None:
        client, account = here.client, kept.played.account
        jobs, chats = client.fine_tuning.jobs, client.chat.completions
        eval_id, run = account.runs[0]
        permissions = client.fine_tuning.checkpoints.permissions
        for change in (
            client.files.delete(account.files[0]),
            client.models.delete(account.models[0]),
            jobs.cancel(account.jobs[0]),
            jobs.pause(account.jobs[0]),
            jobs.resume(account.jobs[0]),
            client.evals.update(eval_id, name="other"),
            client.evals.delete(eval_id),
            client.evals.runs.cancel(run, eval_id=eval_id),
            client.post(f"/evals/{eval_id}/runs/{run}", cast_to=object),
            client.evals.runs.delete(run, eval_id=eval_id),
            client.batches.cancel(account.batches[0]),
            chats.update(account.completions[0], metadata={"a": "b"}),
            chats.delete(account.completions[0]),
            permissions.create(account.checkpoints[0], project_ids=["proj_a"]),
            permissions.delete("cp_1", fine_tuned_model_checkpoint=account.checkpoints[0]),
            client.files.delete(account.lost_training_file),
        ):
            refused = await error_of(change)
            assert (refused.status_code, refused.code) == (400, "archive_is_read_only")
            assert "read-only" in refused.message
        file = await client.files.create(file=("a.jsonl", ROW), purpose="fine-tune")
        assert (await client.files.delete(file.id)).deleted

    play(scene, Archive.open(kept.folder), tmp_path)


def test_what_could_not_be_kept_is_refused_in_words_that_say_why(tmp_path: Path) -> None:
    def lost(kind: Kind, name: str, **values: Any) -> Entry:
        return Entry(kind=kind, id=name, fetched_at=START, **values)

    run = entry("eval_run", "evalrun_1", "eval_1", created_at=START)
    items = [entry("output_item", f"item_{n}", "evalrun_1", created_at=START) for n in range(3)]
    events = Entry(
        kind="list",
        id="job_event ftjob-1",
        state="forbidden",
        reason="403: not yours",
        fetched_at=START,
        object={"kind": "job_event", "count": 0, "is_final": False},
    )
    azure = "gpt-4o-mini-2024-07-18.ft-72a2792e-support"
    archive = made_archive(
        tmp_path / "archive",
        entry("model", azure, created_at=START),
        entry("eval", "eval_1", created_at=START),
        run,
        *items,
        entry("job", "ftjob-1", created_at=START),
        events,
        lost("file", "file-gone", state="deleted", reason="404: No such File"),
        lost("file", "file-secret", state="forbidden", reason="403: not yours"),
        lost("job", "ftjob-late", state="failed", reason="no answer: timeout"),
        entry("file", "file-empty", filename="a").model_copy(
            update={"state": "forbidden", "reason": "its content: 403: not yours"}
        ),
        unread=["output_item evalrun_1"],
    )

    async def scene(here: Served) -> None:
        client = here.client
        assert (await client.models.retrieve(azure)).id == azure
        kept = await error_of(client.models.delete(azure))
        assert kept.code == "archive_is_read_only"
        gone = await error_of(client.files.retrieve("file-gone"))
        assert gone.status_code == 404
        assert "2026-05-28 the source had it no more (404: No such File)" in gone.message
        secret = await error_of(client.files.content("file-secret"))
        assert secret.status_code == 403
        assert "did not let the key read it (403: not yours)" in secret.message
        late = await error_of(client.fine_tuning.jobs.retrieve("ftjob-late"))
        assert late.status_code == 404
        assert "`selftune rescue archive`" in late.message
        assert (await client.files.retrieve("file-empty")).filename == "a"
        empty = await error_of(client.files.content("file-empty"))
        assert empty.status_code == 403
        assert "the content of the file 'file-empty'" in empty.message
        assert [each["id"] for each in await all_of(client.files.list())] == ["file-empty"]
        cut = await client.evals.runs.output_items.list("evalrun_1", eval_id="eval_1")
        assert [each.id for each in cut.data] == ["item_0", "item_1", "item_2"]
        assert cut.has_more
        assert "not read to the end" in (await error_of(cut.get_next_page())).message
        hidden = await error_of(client.fine_tuning.jobs.list_events("ftjob-1"))
        assert hidden.status_code == 403
        assert "events of 'ftjob-1'" in hidden.message
        unknown = await error_of(client.files.retrieve("file-other"))
        assert unknown.message.endswith("No such File object: file-other")
        other = await error_of(client.evals.runs.retrieve("evalrun_1", eval_id="eval_2"))
        assert other.status_code == 404

    play(scene, archive, tmp_path / "home")


def test_a_job_trains_on_an_archived_file_though_its_worker_knows_no_archive(
    kept: Kept, tmp_path: Path
) -> None:
    async def scene(here: Served) -> None:
        client, account = here.client, kept.played.account
        old = await client.fine_tuning.jobs.retrieve(account.jobs[0])
        content = (await client.files.content(old.training_file)).content
        before = await all_of(client.files.list())
        asked: dict[str, Any] = {"model": "selftune/fake", "training_file": old.training_file}
        await client.fine_tuning.jobs.create(**asked)
        asked["validation_file"] = str(old.validation_file)
        job = await client.fine_tuning.jobs.create(**asked)  # the file is in the store by now
        claimed = claim(here.store, this_process(), only=job.id)
        assert claimed is not None
        await asyncio.to_thread(run_child, here.store, job.id, claimed[1].token)
        trained = get_job(here.store, DEFAULT_PROJECT, job.id)
        assert trained.status == "succeeded", trained.error
        after = await all_of(client.files.list())
        [result] = trained.state["result_files"]
        assert [each for each in after if each["id"] != result] == before
        assert (await client.files.content(old.training_file)).content == content
        lost = await error_of(
            client.fine_tuning.jobs.create(
                model="selftune/fake", training_file=account.lost_training_file
            )
        )
        assert (lost.status_code, lost.param) == (400, "training_file")
        assert "the source had it no more" in lost.message

    play(scene, Archive.open(kept.folder), tmp_path)


def test_an_archived_eval_is_run_again_with_its_own_criteria(kept: Kept, tmp_path: Path) -> None:
    async def scene(here: Served) -> None:
        client, account = here.client, kept.played.account
        eval_id, old = account.runs[0]
        made = await client.evals.retrieve(eval_id)
        runs = [name for parent, name in account.runs if parent == eval_id]
        source = (await client.evals.runs.retrieve(old, eval_id=eval_id)).data_source.to_dict()
        asked = source | {"model": "selftune/fake"}
        new = await client.evals.runs.create(eval_id, data_source=asked)  # type: ignore[arg-type]
        claimed = claim(here.store, this_process(), only=new.id)
        assert claimed is not None
        await asyncio.to_thread(run_child, here.store, new.id, claimed[1].token)
        done = await client.evals.runs.retrieve(new.id, eval_id=eval_id)
        assert done.status == "completed", done.error
        [criterion] = done.per_testing_criteria_results
        assert criterion.testing_criteria == made.testing_criteria[0].to_dict()["id"]
        for limit in (1, 2, 100):
            listed = await all_of(client.evals.runs.list(eval_id, limit=limit))
            assert [each["id"] for each in listed] == [*runs, new.id]
            listed = await all_of(client.evals.runs.list(eval_id, limit=limit, order="desc"))
            assert [each["id"] for each in listed] == [new.id, *runs[::-1]]
        items = await all_of(client.evals.runs.output_items.list(new.id, eval_id=eval_id))
        assert len(items) > 10
        assert (await client.evals.retrieve(eval_id)).to_dict() == made.to_dict()
        deleted = await client.evals.runs.delete(new.id, eval_id=eval_id)
        assert deleted.deleted
        assert len(await all_of(client.evals.runs.list(eval_id))) == len(runs)

    play(scene, Archive.open(kept.folder), tmp_path)


def test_an_old_model_says_that_it_needs_a_replacement_until_it_has_one(
    kept: Kept, tmp_path: Path
) -> None:
    async def scene(here: Served) -> None:
        client, account = here.client, kept.played.account
        for name in (account.models[0], account.checkpoints[0]):
            question = [{"role": "user", "content": "hello"}]
            refused = await error_of(
                client.chat.completions.create(model=name, messages=question)  # type: ignore[arg-type]
            )
            assert (refused.status_code, refused.code) == (404, "model_not_found")
            assert f"The model `{name}` does not exist or you do not have" in refused.message
            assert "`selftune rescue retrain`" in refused.message
            untrainable = await error_of(
                client.fine_tuning.jobs.create(model=name, training_file=account.files[0])
            )
            assert untrainable.code == "model_not_available"
            assert "weights" in untrainable.message
            set_replacement(here.store.root, name, "selftune/fake")
            answered = await client.chat.completions.create(model=name, messages=question)  # type: ignore[arg-type]
            assert answered.choices[0].message.content
        listed = [each["id"] for each in await all_of(client.models.list())]
        assert listed.count(account.models[0]) == 1

    play(scene, Archive.open(kept.folder), tmp_path)


def test_keys_of_other_projects_do_not_see_the_archive(kept: Kept, tmp_path: Path) -> None:
    async def scene(here: Served) -> None:
        account = kept.played.account
        project = create_project(here.store, "research").id
        client = here.connect(create_key(here.store, "theirs", project_id=project)[1])
        assert await all_of(client.files.list()) == []
        assert await all_of(client.evals.list()) == []
        for asked in (
            client.files.content(account.files[0]),
            client.files.delete(account.files[0]),
            client.fine_tuning.jobs.retrieve(account.jobs[0]),
            client.evals.runs.list(account.evals[0]),
            client.models.retrieve(account.models[0]),
        ):
            assert (await error_of(asked)).status_code == 404
        job = client.fine_tuning.jobs.create(model="selftune/fake", training_file=account.files[0])
        assert "selftune rescue" not in (await error_of(job)).message

    play(scene, Archive.open(kept.folder), tmp_path)


def test_a_page_reads_no_more_objects_than_it_shows(kept: Kept, tmp_path: Path) -> None:
    read: Counter[str] = Counter()

    class Counted(Archive):
        def get(self, kind: Kind, name: str) -> Entry | None:
            read[kind] += 1
            return super().get(kind, name)

    async def scene(here: Served) -> None:
        eval_id, run = kept.played.account.runs[0]
        items = here.client.evals.runs.output_items
        first = await items.list(run, eval_id=eval_id, limit=4)
        assert read["output_item"] == 5  # one more tells whether others follow
        read.clear()
        await items.list(run, eval_id=eval_id, limit=4, after=first.data[-1].id)
        assert read["output_item"] == 5

    archive = Archive.open(kept.folder)
    play(scene, Counted(archive.folder, archive.manifest), tmp_path)


def test_damage_is_the_servers_trouble_and_names_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    made_archive(
        folder,
        entry("eval", "eval_1", metadata={"a": "one"}),
        entry("eval", "eval_2", metadata={"a": "two"}),
    )
    lines = folder / "objects" / "eval.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b'"two"', b'"owt"'))

    async def scene(here: Served) -> None:
        assert (await here.client.evals.retrieve("eval_1")).metadata == {"a": "one"}
        for asked in (here.client.evals.retrieve("eval_2"), here.client.evals.list()):
            damaged = await error_of(asked)
            assert (damaged.status_code, damaged.code) == (500, "archive_damaged")
            assert "`selftune rescue verify`" in damaged.message
            assert str(tmp_path) not in damaged.message

    play(scene, Archive.open(folder), tmp_path / "home")


def test_the_program_serves_an_archive_and_says_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    made_archive(folder, entry("file", "file-old", created_at=START, filename="a.jsonl"))
    command = [sys.executable, "-u", "-m", "selftune", "serve", "--port", "0", "--no-worker"]
    command += ["--no-auth", "--archive"]
    environment = child_environment(load_settings(home=tmp_path / "home"))
    refused = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "is no archive" in refused.stderr
    with subprocess.Popen(
        [*command, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while "archive of" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            assert "https://api.example, read-only: 1 files" in said
            address = re.search(r"OPENAI_BASE_URL=(\S+)", said)
            assert address is not None
            with OpenAI(base_url=address[1], api_key="none") as client:
                assert [each.filename for each in client.files.list()] == ["a.jsonl"]
        finally:
            process.terminate()
