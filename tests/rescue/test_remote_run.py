"""A run file that names a profile: trained there once, watched, proven there, whatever is killed."""

import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.flow.test_run import RUN_FILE, write
from tests.rescue.stand_in import SMALL, StandIn, stand_in

from selftune import local
from selftune.core.errors import (
    Conflict,
    InvalidInput,
    JobFailed,
    PermissionDenied,
    SelftuneError,
    Unavailable,
)
from selftune.core.records import Event
from selftune.core.runfile import load_run_file
from selftune.core.settings import load_settings
from selftune.models.own_profiles import add_profile
from selftune.models.profiles import Profile
from selftune.prove.elsewhere import arms_of
from selftune.prove.home import Home
from selftune.store.store import Store, open_store
from selftune.train.remote.kept import Kept, open_book
from selftune.train.remote.training import Made

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("remote")]
REMOTE = RUN_FILE.replace("[model]", '[model]\nprofile = "there"\nsuffix = "There"').replace(
    "<script>alert(1)</script>", "There"
)
VALIDATED = REMOTE.replace("[data]", "[data]\nvalidation_fraction = 0.2")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("openai"), size=SMALL, trains=True) as made:
        yield made


@pytest.fixture
def there(running: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    running.quirks.no_new_jobs, running.quirks.fault_share = False, 0.0
    running.app.asked.clear()
    monkeypatch.setenv("THERE_KEY", running.key)
    return running


@pytest.fixture
def store(there: StandIn, tmp_path: Path) -> Store:
    made = open_store(load_settings(home=tmp_path / "home"))
    entry = {"base_url": there.base_url, "api_key_variable": "THERE_KEY"}
    add_profile(tmp_path / "home", "there", entry)
    return made


class Heard(local.Progress):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.log: list[Event] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def events(self, new: tuple[Event, ...]) -> None:
        self.log += new


def jobs(there: StandIn) -> int:
    return len(list(there.client().fine_tuning.jobs.list()))


def test_a_run_trains_there_and_asks_both_models_there(
    there: StandIn, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = functools.partial(openai.AsyncOpenAI, _strict_response_validation=True)
    monkeypatch.setattr(openai, "AsyncOpenAI", strict)
    monkeypatch.setattr(there.quirks, "empty_errors", False)
    heard, path = Heard(), write(tmp_path, rows=20, run_file=VALIDATED)
    report, written = local.run(path, store=store, progress=heard)
    base, tuned = (arm.summary for arm in report.arms)
    assert (base.model, base.place) == ("selftune/fake", there.base_url)
    assert tuned.model.startswith("ft:selftune-fake:acme:there:")
    assert base.accuracy is not None
    assert tuned.accuracy is not None
    assert tuned.accuracy.value > base.accuracy.value
    job = next(iter(there.client().fine_tuning.jobs.list()))
    assert (job.fine_tuned_model, job.seed) == (tuned.model, 42)
    assert job.validation_file is not None
    facts = report.round.facts
    assert facts["trained at"] == f"there, {there.base_url}"
    assert facts["n_epochs"].isdigit()
    results = tmp_path / "home" / facts["result file"]
    assert "train_loss" in results.read_text(encoding="utf-8")
    assert report.round.losses[-1][0] == max(each.data["step"] for each in heard.log if each.data)
    said = [event.message for event in heard.log]
    assert said[0] == f"Created fine-tuning job: {job.id}"
    assert said[-1] == "The job has successfully completed"
    assert len(said) == len(set(said))
    there.app.asked.clear()
    local.run(path, store=store, progress=heard)
    assert not any(asked.startswith("POST") for asked in there.app.asked)
    assert "Going on at there" in heard.stages[-2]
    for file in (tmp_path / "home").rglob("*"):
        assert file.is_dir() or there.key.encode() not in file.read_bytes()
    assert there.key not in written.html.read_text(encoding="utf-8")


def test_bad_connections_make_nothing_twice(there: StandIn, store: Store, tmp_path: Path) -> None:
    before, files = jobs(there), len(list(there.client().files.list(purpose="fine-tune")))
    there.quirks.fault_share = 0.25
    path = write(tmp_path, rows=21, run_file=VALIDATED)
    local.run(path, store=store)
    there.quirks.fault_share = 0.0
    assert jobs(there) == before + 1
    assert len(list(there.client().files.list(purpose="fine-tune"))) == files + 2


def test_a_killed_command_goes_on_with_the_same_job(
    there: StandIn, store: Store, tmp_path: Path
) -> None:
    path, before = write(tmp_path, rows=22, run_file=REMOTE), jobs(there)
    command = [sys.executable, "-m", "selftune", "run", str(path), "--json"]
    environment = there.environment | {"SELFTUNE_HOME": str(tmp_path / "home")}
    del environment["OPENAI_API_KEY"]
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while there.app.asked["POST /v1/fine_tuning/jobs"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["arms"][1]["summary"]["model"].startswith("ft:selftune-fake")
    assert jobs(there) == before + 1
    assert there.app.asked["POST /v1/files"] == 1
    assert there.key not in done.stdout + done.stderr


def test_a_job_whose_id_was_never_heard_is_found_and_again_makes_another(
    there: StandIn, store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path, rows=23, run_file=REMOTE)
    local.run(path, store=store)
    [kept] = (tmp_path / "home" / "remote").glob("*/kept.json")
    known = Kept.model_validate_json(kept.read_bytes())
    lost = {"job": None, "training_file": None, "creating_since": int(time.time())}
    kept.write_text(known.model_copy(update=lost).model_dump_json(), encoding="utf-8")
    there.app.asked.clear()
    local.run(path, store=store)
    assert not any(asked.startswith("POST") for asked in there.app.asked)
    found = Kept.model_validate_json(kept.read_bytes())
    assert (found.job, found.training_file) == (known.job, known.training_file)
    before = jobs(there)
    local.run(path, store=store, again=True)
    assert jobs(there) == before + 1
    assert there.app.asked["POST /v1/files"] == 0


def test_a_job_that_fails_says_why_and_the_next_run_asks_for_another(
    there: StandIn, store: Store, tmp_path: Path
) -> None:
    path, before = write(tmp_path, rows=9, run_file=REMOTE), jobs(there)
    with pytest.raises(JobFailed, match=r"at least 10 examples.*--profile there") as raised:
        local.run(path, store=store)
    assert raised.value.code == "invalid_n_examples"
    there.quirks.no_new_jobs = True
    with pytest.raises(PermissionDenied, match=r"winding down.*rescue archive.*this machine"):
        local.run(path, store=store)
    assert jobs(there) == before + 1
    [kept] = (tmp_path / "home" / "remote").glob("*/kept.json")
    found = Kept.model_validate_json(kept.read_bytes())
    assert (found.job, found.creating_since, len(found.ended)) == (None, None, 1)


def test_two_processes_do_not_train_the_same(tmp_path: Path) -> None:
    first = Kept(profile="p", address="a")
    with (
        open_book(tmp_path, "d" * 64, first),
        pytest.raises(Conflict),
        open_book(tmp_path, "d" * 64, first),
    ):
        pass
    with open_book(tmp_path, "d" * 64, first) as book:
        (book.folder / "kept.json").write_text("{", encoding="utf-8")
    with (
        pytest.raises(InvalidInput, match="is damaged"),
        open_book(tmp_path, "d" * 64, first),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("'there'", "'nobody'"), "no profile 'nobody'"),
        (("suffix =", "base_deployment = 'x'\nsuffix ="), "are Azure's"),
        (("'there'", "'openai'"), "name a model that 'openai' trains"),
        (
            ("'there'\nbase = 'selftune/fake'", "'openai'\nbase = 'gpt-4.1'"),
            "rank: the provider has no such setting",
        ),
    ],
)
def test_what_does_not_fit_the_provider_is_told_before_anything_is_sent(
    there: StandIn, store: Store, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    text = REMOTE.replace('"there"\nsuffix = "There"\nbase = "selftune/fake"', _MODEL)
    path = write(tmp_path, run_file=text.replace(*change))
    with pytest.raises(SelftuneError, match=words):
        local.run(path, store=store)
    assert not there.app.asked


_MODEL = "'there'\nbase = 'selftune/fake'\nsuffix = 'There'\n[options]\nrank = 4"


def test_azure_is_asked_by_the_names_of_its_deployments(tmp_path: Path, store: Store) -> None:
    profile = Profile(name="acme", kind="azure", base_url="https://acme.openai.azure.com")
    job = {"model": "gpt-4.1-mini-2025-04-14", "fine_tuned_model": "gpt-4.1-mini.ft-1-x"}
    made = Made(job=job, events=(), results=None)
    spec = load_run_file(write(tmp_path, run_file=REMOTE))
    home = Home(store.settings, store)
    with pytest.raises(Unavailable, match=r"gpt-4\.1-mini\.ft-1-x is trained.*tuned_deployment"):
        arms_of(home, spec, profile, made)
    named = {"base_deployment": "mini", "tuned_deployment": "mini-x"}
    model = spec.model.model_copy(update=named)
    arms = arms_of(home, spec.model_copy(update={"model": model}), profile, made)
    assert [arm.model for arm in arms] == ["mini", "mini-x"]
