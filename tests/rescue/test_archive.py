"""Bringing an account into a folder: everything, once, whatever happens on the way."""

import base64
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.archives import bring, lines_of, started
from tests.rescue.stand_in import TINY, Quirks, StandIn, stand_in

from selftune.core.errors import AuthenticationFailed, Conflict, InvalidInput, Unavailable
from selftune.rescue.archive.format import Entry, Kind, Manifest
from selftune.rescue.archive.reader import Archive
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.files import delete_file
from selftune.store.schema import jobs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("openai"), size=TINY) as played:
        yield played


@pytest.fixture
def played(shared: StandIn) -> StandIn:
    """Give the stand-in of all tests here, with the quirks and counts of a new one."""
    fresh = Quirks(most_listed=20)
    for field in dataclasses.fields(Quirks):
        setattr(shared.quirks, field.name, getattr(fresh, field.name))
    shared.app.asked.clear()
    shared.app.faults.clear()
    return shared


def ids(archive: Archive, kind: Kind, parent: str | None = None) -> list[str]:
    return list(archive.ids(kind, parent))


def test_everything_that_an_account_lists_is_kept_oldest_first(
    played: StandIn, tmp_path: Path
) -> None:
    played.quirks.most_listed = 2  # all lists have several pages
    manifest = bring(played, tmp_path / "a")
    archive, account = Archive.open(tmp_path / "a"), played.account
    assert manifest.is_complete
    assert ids(archive, "eval") == list(account.evals)
    assert [(run.parent, run.id) for run in archive.list("eval_run")] != []
    assert {(run.parent, run.id) for run in archive.list("eval_run")} == set(account.runs)
    assert ids(archive, "job") == list(account.jobs)
    assert ids(archive, "file") == [*account.files, account.lost_training_file]
    assert ids(archive, "batch") == list(account.batches)
    assert ids(archive, "completion") == list(account.completions)
    assert set(account.models) <= set(ids(archive, "model"))
    assert manifest.counts["output_item"] == {"kept": TINY.items}
    assert manifest.counts["permission"] == {"kept": 1}
    [shared_with] = archive.list("permission")
    assert shared_with.parent == account.checkpoints[0]
    job = account.jobs[0]
    steps = [event.object["message"] for event in archive.list("job_event", job)]
    assert steps[0].startswith("Created fine-tuning job")
    assert steps[-1] == "The job has successfully completed"
    assert len(steps) == 10 * TINY.steps + 6
    checkpoints = [each.object["step_number"] for each in archive.list("checkpoint", job)]
    assert checkpoints == [10, 20, 30]
    first = account.completions[0]
    [message] = archive.list("completion_message", first)
    assert message.object["role"] == "user"
    assert archive.verify() == ()


def test_objects_are_kept_as_the_source_answers_them(played: StandIn, tmp_path: Path) -> None:
    bring(played, tmp_path / "a")
    archive, account = Archive.open(tmp_path / "a"), played.account
    client = played.client()

    def answered(path: str) -> Any:
        return client.get(path, cast_to=object)

    eval_id, run_id = account.runs[0]
    for kind, name, path in (
        ("job", account.jobs[0], f"/fine_tuning/jobs/{account.jobs[0]}"),
        ("job", account.jobs[1], f"/fine_tuning/jobs/{account.jobs[1]}"),
        ("eval_run", run_id, f"/evals/{eval_id}/runs/{run_id}"),
        ("model", account.models[0], f"/models/{account.models[0]}"),
        ("batch", account.batches[0], f"/batches/{account.batches[0]}"),
        ("completion", account.completions[0], f"/chat/completions/{account.completions[0]}"),
    ):
        found = archive.get(kind, name)  # type: ignore[arg-type]
        assert found is not None
        assert found.object == answered(path)
    first = archive.get("job", account.jobs[0])
    assert first is not None
    assert first.object["error"] == {}  # as the real service has it


def test_contents_are_kept_byte_for_byte_and_result_files_stay_in_base64(
    played: StandIn, tmp_path: Path
) -> None:
    bring(played, tmp_path / "a")
    archive, client = Archive.open(tmp_path / "a"), played.client()
    purposes = set()
    for name in played.account.files:
        file = archive.get("file", name)
        assert file is not None
        assert file.blob is not None
        content = archive.blob(file.blob).read_bytes()
        assert content == client.files.content(name).content
        purposes.add(file.object["purpose"])
        if file.object["purpose"] == "fine-tune-results":
            assert base64.b64decode(content, validate=True).startswith(b"step,train_loss")
    assert purposes == {"fine-tune", "fine-tune-results", "evals", "batch", "batch_output"}


def test_evals_are_asked_for_before_anything_else(played: StandIn, tmp_path: Path) -> None:
    played.quirks.forbidden.add("models")  # the key may not see what comes next
    manifest = bring(played, tmp_path / "a")
    paths = [asked.removeprefix("GET /v1/") for asked in played.app.asked]
    first_other = next(n for n, path in enumerate(paths) if not path.startswith("evals"))
    assert not any(path.startswith("evals") for path in paths[first_other:])
    assert not manifest.is_complete
    [noted] = [each for each in Archive.open(tmp_path / "a").list("list") if each.id == "model"]
    assert (noted.state, str(noted.reason)[:4]) == ("forbidden", "403:")


def test_what_is_deleted_or_forbidden_is_noted_in_the_source_s_words(
    played: StandIn, tmp_path: Path
) -> None:
    gone, hidden = played.account.files[:2]
    played.quirks.missing.add(gone)
    played.quirks.forbidden.add(hidden)
    manifest = bring(played, tmp_path / "a")
    archive = Archive.open(tmp_path / "a")
    found = {name: archive.get("file", name) for name in (gone, hidden)}
    lost = archive.get("file", played.account.lost_training_file)
    assert {name: entry and entry.state for name, entry in found.items()} == {
        gone: "deleted",
        hidden: "forbidden",
    }
    entry = found[hidden]
    assert entry is not None
    assert (entry.object["id"], entry.blob) == (hidden, None)
    assert "insufficient permissions" in str(entry.reason)
    assert lost is not None
    assert (lost.state, lost.object) == ("deleted", None)
    assert f"No such File object: {lost.id}" in str(lost.reason)
    assert manifest.is_complete
    assert archive.verify() == ()


def test_a_restricted_key_gets_all_but_what_it_may_not_see(played: StandIn, tmp_path: Path) -> None:
    played.quirks.forbidden.add("evals")
    played.quirks.forbidden_status = 401
    manifest = bring(played, tmp_path / "a")
    assert manifest.counts["job"] == {"kept": TINY.jobs}
    assert not manifest.is_complete
    noted = Archive.open(tmp_path / "a").noted("eval")
    assert noted is not None
    assert (noted.state, "Missing scopes" in str(noted.reason)) == ("forbidden", True)


def test_another_key_gets_what_the_first_one_may_not_see(played: StandIn, tmp_path: Path) -> None:
    hidden = {"files", "events", played.account.runs[0][1]}
    played.quirks.forbidden |= hidden
    assert not bring(played, tmp_path / "a").is_complete
    asked = [path for path in played.app.asked.elements() if "/files/" in path]
    assert len(asked) == len(set(asked))  # once in a run
    played.quirks.forbidden.clear()
    manifest = bring(played, tmp_path / "a")
    assert manifest.is_complete
    assert manifest.counts["file"] == {"deleted": 1, "kept": TINY.files}
    assert manifest.counts["output_item"] == {"kept": TINY.items}
    archive = Archive.open(tmp_path / "a")
    assert len(ids(archive, "job_event", played.account.jobs[0])) == 10 * TINY.steps + 6
    assert archive.verify() == ()


def test_a_key_that_may_not_see_who_uses_checkpoints_is_no_reason_to_stop(
    played: StandIn, tmp_path: Path
) -> None:
    played.quirks.forbidden.add("permissions")
    assert bring(played, tmp_path / "a").is_complete
    asked = [path for path in played.app.asked if path.endswith("permissions")]
    assert len(asked) == 1


def test_a_second_run_asks_only_for_what_is_new(played: StandIn, tmp_path: Path) -> None:
    first = bring(played, tmp_path / "a")
    played.app.asked.clear()
    second = bring(played, tmp_path / "a")
    assert (second.counts, second.files) == (first.counts, first.files)
    account = played.account
    assert played.app.asked.total() == 7 + len(account.evals)  # the lists that may have grown


def test_what_was_under_way_is_asked_for_again(played: StandIn, tmp_path: Path) -> None:
    job = played.account.jobs[-1]

    def become(status: str) -> None:
        with played.store.db.write() as connection:
            connection.execute(jobs.update().where(jobs.c.id == job).values(status=status))

    become("running")
    bring(played, tmp_path / "a")
    running = Archive.open(tmp_path / "a").get("job", job)
    become("cancelled")
    bring(played, tmp_path / "a")
    archive = Archive.open(tmp_path / "a")
    ended = archive.get("job", job)
    assert running is not None
    assert ended is not None
    assert (running.object["status"], ended.object["status"]) == ("running", "cancelled")
    assert ids(archive, "job") == list(played.account.jobs)
    assert archive.verify() == ()


def test_faults_are_waited_out(played: StandIn, tmp_path: Path) -> None:
    played.quirks.fault_share = 0.2
    manifest = bring(played, tmp_path / "a")
    assert played.app.faults.total() > 3
    assert manifest.is_complete
    assert manifest.counts["output_item"] == {"kept": TINY.items}


def test_what_a_kill_left_half_written_is_asked_for_again(played: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    before = bring(played, folder)
    path = folder / "objects" / "output_item.jsonl"
    whole = path.read_bytes()
    lists = folder / "objects" / "list.jsonl"
    # As a kill in the first run would leave it: no seal, no note of what was read, half a line.
    killed = before.model_copy(update={"files": {}, "counts": {}, "ended_at": None})
    rewrite(folder, killed)
    lists.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    after = bring(played, folder)
    assert after.counts["output_item"] == {"kept": TINY.items}
    archive = Archive.open(folder)
    for eval_id, run_id in played.account.runs:
        items = played.client().evals.runs.output_items.list(run_id, eval_id=eval_id)
        assert ids(archive, "output_item", run_id) == [item.id for item in items]
    assert archive.verify() == ()


def rewrite(folder: Path, manifest: Manifest) -> None:
    from selftune.rescue.archive.format import manifest_text

    for name in ("archive.json", "archive.copy.json"):
        (folder / name).write_bytes(manifest_text(manifest))


@pytest.mark.parametrize("most_bytes", [300, 10_000])
def test_a_full_disk_is_said_in_words_and_loses_nothing(
    played: StandIn, tmp_path: Path, most_bytes: int
) -> None:
    folder = tmp_path / "a"
    full = started(played, folder, most_bytes=most_bytes)
    said = full.communicate()[0]
    assert full.returncode == 1
    assert "cannot be written: File too large" in said
    assert "Traceback" not in said
    assert bring(played, folder).is_complete
    assert Archive.open(folder).verify() == ()


def test_the_program_shows_what_it_keeps_and_says_whether_it_is_all(
    played: StandIn, tmp_path: Path
) -> None:
    played.quirks.forbidden.add("batches")
    running = started(played, tmp_path / "a")
    said = running.communicate()[0]
    assert running.returncode == 1
    assert "batches: forbidden, 403: You have insufficient permissions" in said
    assert "not complete" in said
    assert played.key not in said
    played.quirks.forbidden.clear()
    again = started(played, tmp_path / "a")
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert f"has all that {played.base_url} lists" in said.replace("\n", " ")
    for path in (tmp_path / "a").rglob("*"):
        assert path.is_dir() or played.key.encode() not in path.read_bytes()


def test_a_key_that_is_not_accepted_is_said(played: StandIn, tmp_path: Path) -> None:
    wrong = dataclasses.replace(played, key="sk-wrong")
    with pytest.raises(AuthenticationFailed, match="does not accept the key") as raised:
        bring(wrong, tmp_path / "a")
    assert "sk-wrong" not in raised.value.message
    other = dataclasses.replace(played, base_url=played.base_url.replace("127.0.0.1", "localhost"))
    assert bring(other, tmp_path / "a").is_complete  # nothing was kept of the first account


def test_a_provider_that_stops_answering_ends_the_run_and_the_next_goes_on(
    played: StandIn, tmp_path: Path
) -> None:
    played.quirks.silent_after = 12
    with pytest.raises(Unavailable, match=r"does not answer: .*run it again"):
        bring(played, tmp_path / "a", retries=0)
    kept = lines_of(tmp_path / "a", "output_item")
    played.quirks.silent_after = None
    assert kept
    assert bring(played, tmp_path / "a").is_complete
    assert Archive.open(tmp_path / "a").verify() == ()


def test_a_folder_of_something_else_is_left_alone(played: StandIn, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no archive: choose a new or an empty folder"):
        bring(played, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_archive_of_another_account_is_left_alone(played: StandIn, tmp_path: Path) -> None:
    bring(played, tmp_path / "a")
    before = (tmp_path / "a" / "archive.json").read_bytes()
    other = dataclasses.replace(played, base_url=played.base_url.replace("127.0.0.1", "localhost"))
    with pytest.raises(InvalidInput, match="the archive of another account: its base_url"):
        bring(other, tmp_path / "a")
    assert (tmp_path / "a" / "archive.json").read_bytes() == before


def test_two_processes_do_not_write_one_archive(played: StandIn, tmp_path: Path) -> None:
    played.quirks.seconds = 0.05
    running = started(played, tmp_path / "a")
    while not lines_of(tmp_path / "a", "eval"):
        assert running.poll() is None
    with pytest.raises(Conflict, match="Another process writes"):
        bring(played, tmp_path / "a")
    running.kill()
    running.communicate()


def test_a_damaged_archive_is_not_written_on(played: StandIn, tmp_path: Path) -> None:
    bring(played, tmp_path / "a")
    path = tmp_path / "a" / "objects" / "job.jsonl"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InvalidInput, match=r"is damaged: .*rescue verify"):
        bring(played, tmp_path / "a")


def test_a_model_that_the_source_lists_no_more_is_kept_and_noted_as_deleted(
    tmp_path: Path,
) -> None:
    with stand_in(tmp_path / "openai", size=TINY) as played:
        bring(played, tmp_path / "a")
        client, account = played.client(), played.account
        client.models.delete(account.models[0])
        delete_file(played.store, DEFAULT_PROJECT, account.files[-1])
        manifest = bring(played, tmp_path / "a")
    model = Archive.open(tmp_path / "a").get("model", account.models[0])
    assert model is not None
    assert (model.state, model.object["id"]) == ("deleted", account.models[0])
    assert manifest.is_complete


def test_text_of_any_kind_survives(tmp_path: Path) -> None:
    from selftune.rescue.archive.format import entry_of, line_of

    for text in ("naïve 😀", "\ud800 half a character", "line\u2028and\nbreak", "\0"):
        entry = Entry(kind="job", id=text, fetched_at=1, object={"b": 1, "a": [text, 1e400, 0.1]})
        line = line_of(entry)
        assert line.count(b"\n") == 1
        assert entry_of(line) == entry
        assert list(entry_of(line).object) == ["b", "a"]
