"""Replacements of an archive's models: trained from its files, told, resumed, under the old names."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.archives import bring
from tests.rescue.stand_in import SMALL, StandIn, stand_in
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Hyperparameters
from selftune.core.settings import Settings
from selftune.jobs.events import events_since
from selftune.jobs.queue import JobQuery, get_job, list_jobs
from selftune.models.catalog import catalog
from selftune.models.own_catalog import set_replacement
from selftune.rescue.archive.reader import Archive
from selftune.rescue.proof.graders import graders_of_eval
from selftune.rescue.record.trained import files_of
from selftune.rescue.retrain.run import Wishes, retrain
from selftune.rescue.retrain.translate import translate
from selftune.serve.resolve import resolve
from selftune.store.accounts import default_identity
from selftune.store.files import get_file, list_files
from selftune.store.store import open_store
from selftune.train.create import KIND

BASE = "gpt-4o-mini-2024-07-18"
JOB = {
    "id": "ftjob-1",
    "model": BASE,
    "method": {
        "type": "supervised",
        "supervised": {
            "hyperparameters": {
                "n_epochs": 3,
                "batch_size": 4,
                "learning_rate_multiplier": 1.8,
            }
        },
    },
}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("openai"), size=SMALL) as openai:
        yield openai


@pytest.fixture(scope="module")
def archive(account: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives") / "acme"
    bring(account, folder)
    return folder


def command(home: Path, *words: str) -> Result:
    environment = {"SELFTUNE_HOME": str(home)}
    return CliRunner().invoke(app, ["rescue", "retrain", *words, "--json"], env=environment)


def test_a_replacement_is_trained_from_the_old_files_and_answers_under_the_old_name(
    account: StandIn, archive: Path, tmp_path: Path
) -> None:
    old, _ = account.account.models
    words = ("--all", "--archive", str(archive), "--base", "selftune/fake")
    waiting = json.loads(command(tmp_path, *words, "--no-wait").stdout)[0]
    assert (waiting["status"], waiting["replaces"]) == ("validating_files", False)
    done = command(tmp_path, *words)
    assert done.exit_code == 1  # the second one has no training file any more
    first, second = json.loads(done.stdout)
    assert (first["status"], second["status"]) == ("succeeded", "refused")
    assert (first["job"], first["replaces"]) == (waiting["job"], True)
    assert "is not in the archive" in second["reason"]
    assert any("n_epochs stays 3" in said for said in first["said"])
    store = open_store(Settings(home=tmp_path))
    caller = default_identity(store)
    job = get_job(store, caller.project_id, first["job"])
    there = files_of(Archive.open(archive), old)
    assert there.training is not None
    file = get_file(store, caller.project_id, str(job.spec["training_file"]))
    assert store.blobs.local_path(file.sha256).read_bytes() == there.training.read_bytes()
    assert job.metadata == {"team": "support", "rescued": old}
    assert job.spec["seed"] == 1000
    said = [event.message for event in events_since(store, job.id, 0)]
    assert any(old in each for each in said)
    assert set(first["said"]) <= set(said)
    assert catalog(tmp_path).answering(old) == first["model"]
    assert resolve(store, caller, old) == resolve(store, caller, first["model"])
    again = command(tmp_path, *words)
    assert json.loads(again.stdout)[0]["job"] == first["job"]
    anew = command(tmp_path, old, *words[1:], "--again", "--no-wait", "--n-epochs", "1")
    [other] = json.loads(anew.stdout)
    assert other["job"] != first["job"]
    assert catalog(tmp_path).answering(old) == first["model"]
    assert len(list_jobs(store, caller.project_id, KIND, JobQuery(limit=10)).data) == 2
    store.close()


def test_a_file_may_be_given_where_the_archive_has_none(
    account: StandIn, archive: Path, tmp_path: Path
) -> None:
    first, lost = account.account.models
    training = files_of(Archive.open(archive), first).training
    words = (lost, "--archive", str(archive), "--base", "selftune/fake", "--no-wait")
    [created] = json.loads(command(tmp_path, *words, "--training", str(training)).stdout)
    assert created["status"] == "validating_files"
    [again] = json.loads(command(tmp_path, *words, "--training", str(training)).stdout)
    assert again["job"] == created["job"]
    other = tmp_path / "other.jsonl"
    other.write_bytes(training.read_bytes() * 2 if training is not None else b"")
    [anew] = json.loads(command(tmp_path, *words, "--training", str(other)).stdout)
    assert anew["job"] != created["job"]
    both = CliRunner().invoke(
        app,
        ["rescue", "retrain", first, *words, "--training", str(training)],
        env={"SELFTUNE_HOME": str(tmp_path)},
    )
    assert "of one model" in str(both.exception)


def test_a_model_that_the_archive_does_not_know_is_refused(archive: Path, tmp_path: Path) -> None:
    done = command(tmp_path, "ft:gpt-4o:acme::nothing", "--archive", str(archive))
    assert done.exit_code == 1
    assert "no job that made" in json.loads(done.stdout)[0]["reason"]


def test_a_model_whose_name_is_nearly_right_is_named(
    account: StandIn, archive: Path, tmp_path: Path
) -> None:
    old = account.account.models[0]
    done = command(tmp_path, old[:-1], "--archive", str(archive))
    assert f"Did you mean {old!r}?" in json.loads(done.stdout)[0]["reason"]


def test_a_refusal_says_what_to_do_and_leaves_no_more_files_each_time(
    account: StandIn, archive: Path, tmp_path: Path
) -> None:
    first, lost = account.account.models
    training = files_of(Archive.open(archive), first).training
    words = (lost, "--archive", str(archive), "--training", str(training))
    for _ in range(2):
        [refused] = json.loads(command(tmp_path, *words).stdout)
        assert refused["status"] == "refused"
        assert "'dpo'" in refused["reason"]
        assert "--base NAME" in refused["reason"]
    store = open_store(Settings(home=tmp_path))
    kept = list_files(store, default_identity(store).project_id).data
    assert sorted(file.filename for file in kept) == [Path(str(training)).name, "validation.jsonl"]
    store.close()


def test_two_commands_at_once_train_one_model_once(
    account: StandIn, archive: Path, tmp_path: Path
) -> None:
    old, store = account.account.models[0], open_store(Settings(home=tmp_path))
    caller, opened = default_identity(store), Archive.open(archive)
    wishes = Wishes(base="selftune/fake", waits=False)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(retrain, store, caller, opened, old, wishes) for _ in range(4)]
    assert len({each.result().job for each in asked}) == 1
    with ThreadPoolExecutor(8) as pool:
        names = [f"ft:gpt-4o:acme::{number}" for number in range(8)]
        list(pool.map(lambda name: set_replacement(tmp_path, name, "selftune/fake"), names))
    assert {each.id for each in catalog(tmp_path).replacement} == set(names)
    store.close()


def test_criteria_of_an_archived_eval_can_judge_the_replacement(
    account: StandIn, archive: Path
) -> None:
    opened = Archive.open(archive)
    [grader] = graders_of_eval(opened, account.account.evals[0])
    assert (grader["type"], grader["reference"]) == ("string_check", "{{ item.answer }}")
    with pytest.raises(NotFound, match="no eval"):
        graders_of_eval(opened, "eval_none")


def test_numbers_that_mean_the_same_stay_and_the_rate_stays_relative() -> None:
    found = translate(JOB, {})
    numbers = found.hyperparameters
    assert (numbers.n_epochs, numbers.batch_size, numbers.learning_rate_multiplier) == (3, 4, 1.0)
    assert len(found.said) == 3
    double = {"hyperparameters": {"n_epochs": "auto", "learning_rate_multiplier": 3.6}}
    relative = translate({"model": "ft:gpt-4o-mini-2024-07-18:a:b:c", **double}, {})
    assert relative.hyperparameters.learning_rate_multiplier == 2.0
    assert relative.hyperparameters.n_epochs == "auto"
    unknown = translate({**JOB, "model": "gpt-4.1-2025-04-14"}, {})
    assert unknown.hyperparameters.learning_rate_multiplier == "auto"
    assert any("is not known" in said for said in unknown.said)
    ours = translate({**JOB, "selftune": {"base": "b"}}, {})
    assert ours.hyperparameters.learning_rate_multiplier == 1.8
    over = translate(JOB, {"n_epochs": 1, "learning_rate_multiplier": 0.5})
    assert over.hyperparameters.n_epochs == 1
    assert over.hyperparameters.learning_rate_multiplier == 0.5


def test_other_methods_keep_their_parts() -> None:
    grader = {
        "type": "string_check",
        "name": "g",
        "input": "a",
        "reference": "b",
        "operation": "eq",
    }
    part: dict[str, Any] = {"hyperparameters": {"compute_multiplier": 2}, "grader": grader}
    found = translate(
        {"model": "m", "method": {"type": "reinforcement", "reinforcement": part}}, {}
    )
    assert (found.method, found.grader) == ("reinforcement", grader)
    assert found.hyperparameters.compute_multiplier == 2
    pairs = {"hyperparameters": {"beta": 0.3}}
    preference = translate({"model": "m", "method": {"type": "dpo", "dpo": pairs}}, {})
    assert preference.hyperparameters.beta == 0.3
    odd = {"n_epochs": 0, "batch_size": "many", "learning_rate_multiplier": 1e9, "beta": 9}
    strange = translate(
        {"model": BASE, "method": {"type": "dpo", "dpo": {"hyperparameters": odd}}}, {}
    )
    assert strange.hyperparameters == Hyperparameters()
    assert len(strange.said) == 4
    with pytest.raises(InvalidInput, match=r"n_epochs: .*less than or equal to 50"):
        translate(JOB, {"n_epochs": 51})
    with pytest.raises(InvalidInput, match="cannot be trained"):
        translate({"model": "m", "method": {"type": "distillation"}}, {})
