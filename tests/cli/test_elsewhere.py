"""`selftune profiles`, and jobs, files and models of an account at a provider."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.stand_in import SMALL, StandIn, stand_in
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import InvalidInput, NotFound, SelftuneError, Unavailable
from selftune.core.records import Hyperparameters, TrainOptions
from selftune.models.profiles import Profile
from selftune.train.create import FinetuneRequest
from selftune.train.remote.body import job_body

pytestmark = pytest.mark.xdist_group("remote")
GRADER = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "operation": "eq",
    "reference": "{{ item.answer }}",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("openai"), size=SMALL) as made:
        yield made


@pytest.fixture
def there(running: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("THERE_KEY", running.key)
    run(
        *("profiles", "add", "there", "--base-url", running.base_url),
        *("--api-key-variable", "THERE_KEY"),
    )
    return running


def run(*words: str) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done


def at(*words: str) -> Any:
    """Return what a command says at the provider, as JSON where it is."""
    text = run(*words, "--profile", "there").output.strip()
    return json.loads(text) if text.startswith(("{", "[")) else text


def refused(*words: str) -> SelftuneError:
    done = CliRunner().invoke(app, [*words, "--profile", "there"])
    assert isinstance(done.exception, SelftuneError), done.output
    return done.exception


def test_profiles_are_listed_with_where_their_key_is_and_never_the_key(
    there: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    run("profiles", "add", "free", "--base-url", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("ODD_KEY", "a b")
    run(
        *("profiles", "add", "odd", "--base-url", "http://127.0.0.1:9/v1"),
        *("--api-key-variable", "ODD_KEY"),
    )
    listed = {each["name"]: each for each in json.loads(run("profiles", "list", "--json").output)}
    assert {name: each["key"] for name, each in listed.items()} == {
        "free": "none",
        "odd": "The key of the profile 'odd' is no API key: it has a space, a line break or another "
        "character that no header can hold.",
        "openai": "missing: OPENAI_API_KEY is not set",
        "there": "in THERE_KEY",
    }
    shown = run("profiles", "list").output + run("profiles", "check", "there").output
    assert "of them 2 tuned" in shown
    assert "may list evals: yes" in shown
    assert there.key not in shown + str(listed)


def test_jobs_are_shown_as_the_provider_wrote_them(there: StandIn) -> None:
    raw = there.client().with_raw_response
    newest = there.account.jobs[-1]
    assert at("jobs", "show", newest) == json.loads(raw.fine_tuning.jobs.retrieve(newest).content)
    listed = at("jobs", "list", "--limit", "3", "--json")
    assert [job["id"] for job in listed] == list(reversed(there.account.jobs))[:3]
    events = at("jobs", "events", there.account.jobs[0], "--json")
    assert len(events) > 100
    assert events[0]["message"].startswith("Created fine-tuning job")
    assert "Created fine-tuning job" in at("jobs", "events", newest)
    missing = refused("jobs", "show", "ftjob-none")
    assert isinstance(missing, NotFound)
    assert "Could not find fine tune: ftjob-none" in missing.message


def test_a_job_is_created_with_all_that_was_asked_for_and_cancelled(
    there: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "grader.json").write_text(json.dumps(GRADER), encoding="utf-8")
    (tmp_path / "train.jsonl").write_text('{"messages": []}\n', encoding="utf-8")
    file_id = at("files", "add", str(tmp_path / "train.jsonl"))
    job_id = at(
        *("jobs", "create", file_id, "--model", "selftune/fake", "--method", "reinforcement"),
        *("--validation-file", file_id, "--suffix", "x", "--seed", "7"),
        *("--grader", str(tmp_path / "grader.json"), "--set", "n_epochs=2"),
        *("--set", "compute_multiplier=2", "--metadata", "team=a=b", "--set", "rank=4"),
        *("--priority", "3"),
    )
    job = at("jobs", "show", job_id)
    own = job["method"]["reinforcement"]
    assert (job["seed"], job["user_provided_suffix"]) == (7, "x")
    assert (job["training_file"], job["validation_file"]) == (file_id, file_id)
    assert job["metadata"] == {"team": "a=b"}
    assert own["grader"] == GRADER
    assert own["hyperparameters"]["n_epochs"] == 2
    assert own["hyperparameters"]["compute_multiplier"] == 2
    assert (job["selftune"]["rank"], job["selftune"]["priority"]) == (4, 3)
    assert isinstance(refused("jobs", "pause", job_id), SelftuneError)
    assert at("jobs", "cancel", job_id) == "cancelled"
    assert at("files", "delete", file_id) == f"deleted {file_id}"


def test_a_request_says_only_what_was_asked_for() -> None:
    asked = FinetuneRequest(model="gpt-4.1", training_file="file-1", method="dpo")
    numbers = Hyperparameters(beta=0.2)
    openai = Profile(name="openai", kind="openai")
    assert job_body(openai, asked.model_copy(update={"hyperparameters": numbers})) == {
        "model": "gpt-4.1",
        "training_file": "file-1",
        "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}},
    }
    azure = Profile(
        name="azure", kind="azure", base_url="https://a.openai.azure.com", api_version="2024-10-21"
    )
    supervised = {"method": "supervised", "hyperparameters": Hyperparameters(n_epochs=2)}
    assert job_body(azure, asked.model_copy(update=supervised)) == {
        "model": "gpt-4.1",
        "training_file": "file-1",
        "hyperparameters": {"n_epochs": 2},
    }
    own = asked.model_copy(update={"options": TrainOptions(rank=4)})
    for profile in (openai, azure):
        with pytest.raises(InvalidInput, match="rank: the provider has no such setting"):
            job_body(profile, own)


def test_a_job_of_which_nothing_was_heard_may_be_there(there: StandIn) -> None:
    run("profiles", "add", "gone", "--base-url", "http://127.0.0.1:9/v1")
    done = CliRunner().invoke(app, ["jobs", "create", "file-1", "--profile", "gone"])
    assert isinstance(done.exception, Unavailable)
    assert "jobs list --profile gone` before you create it again" in done.exception.message


def test_files_come_and_go_whole(there: StandIn, tmp_path: Path) -> None:
    content = b'{"messages": []}\n' + "ünïcödé\n".encode()
    (tmp_path / "a.jsonl").write_bytes(content)
    file_id = at("files", "add", str(tmp_path / "a.jsonl"), "--purpose", "evals")
    assert at("files", "show", file_id)["purpose"] == "evals"
    assert file_id in [file["id"] for file in at("files", "list", "--json")]
    done = CliRunner().invoke(app, ["files", "content", file_id, "--profile", "there"])
    assert done.stdout_bytes == content
    results = there.client().fine_tuning.jobs.retrieve(there.account.jobs[0]).result_files[0]
    assert at("files", "content", results).startswith("step,train_loss,train_accuracy")
    assert at("files", "delete", file_id) == f"deleted {file_id}"
    assert "No such File object" in refused("files", "show", file_id).message
    assert "is not there" in refused("files", "add", str(tmp_path / "none")).message
    assert (
        "'purpose'" in refused("files", "add", str(tmp_path / "a.jsonl"), "--purpose", "x").message
    )


def test_models_are_listed_tuned_ones_first_and_can_be_deleted(there: StandIn) -> None:
    lines = at("models", "list").splitlines()
    assert lines[1].startswith("ft:")
    assert "2027-01-14" in lines[1]
    name = there.account.models[-1]
    assert at("models", "show", name)["id"] == name
    assert at("models", "delete", name) == f"deleted {name}"
    assert name not in [model["id"] for model in at("models", "list", "--json")]


def test_an_unknown_profile_is_named(there: StandIn) -> None:
    done = CliRunner().invoke(app, ["jobs", "list", "--profile", "nobody"])
    assert isinstance(done.exception, NotFound)
    assert "knows openai, there" in done.exception.message
