"""An account at Azure, in the shapes of its REST reference of 2024-10-21; nothing was tried there."""

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.made_tasks import persona_rows, questions
from tests.rescue.provider import Asked, Provider, Reply, provider
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.core.errors import NotFound
from selftune.core.settings import Settings
from selftune.jobs.queue import get_job
from selftune.models.catalog import catalog
from selftune.models.own_catalog import set_replacement
from selftune.models.own_profiles import add_profile
from selftune.models.permitted import permitted
from selftune.models.profiles import Profile, find_profile, open_client
from selftune.prove.home import Home
from selftune.rescue.archive.download import archive_account
from selftune.rescue.archive.format import source_of
from selftune.rescue.archive.reader import Archive
from selftune.rescue.inventory import take_stock
from selftune.rescue.inventory_asking import look_around
from selftune.store.accounts import default_identity
from selftune.store.files import get_file
from selftune.store.store import open_store

BASE = "gpt-4o-mini-2024-07-18"
TUNED = f"{BASE}.ft-72a2792ef7d24ba7b82c7fe4a37e379f-support"
FURTHER = f"{BASE}.ft-0e208cf33a6a466994aff31a08aba678"
STEP = f"{FURTHER}:ckpt-step-10"
ENDS = 1_822_348_800
"""2027-10-01: that of the base is another day."""
TRAINING = b"".join(json.dumps(row).encode() + b"\n" for row in persona_rows(questions()[0][:20]))


def listed(*found: dict[str, Any], **more: Any) -> Reply:
    return 200, {}, {"data": list(found), "object": "list"} | more


def model(name: str, **more: Any) -> dict[str, Any]:
    shown = {"id": name, "status": "succeeded", "created_at": 1_770_000_000, "object": "model"}
    return shown | {"lifecycle_status": "generally-available"} | more


def job(number: int, base: str, made: str) -> dict[str, Any]:
    return {
        "id": f"ftjob-{number}",
        "object": "fine_tuning.job",
        "model": base,
        "fine_tuned_model": made,
        "training_file": "file-1",
        "result_files": [],
        "hyperparameters": {"n_epochs": 1},
        "suffix": "support",
        "status": "succeeded",
        "created_at": 1_770_000_000 + number,
    }


CHECKPOINT = {
    "id": "ftckpt_1",
    "created_at": 1_770_000_100,
    "fine_tuned_model_checkpoint": STEP,
    "step_number": 10,
    "fine_tuning_job_id": "ftjob-2",
    "object": "fine_tuning.job.checkpoint",
}
FILE = {
    "id": "file-1",
    "bytes": len(TRAINING),
    "purpose": "fine-tune",
    "filename": "support.jsonl",
    "status": "processed",
    "created_at": 1_769_000_000,
    "object": "file",
}
ANSWERS: dict[str, Reply] = {
    "/openai/models": listed(
        model(BASE, deprecation={"fine_tune": 1_790_000_000, "inference": 1_801_000_000}),
        model(TUNED, model=BASE, fine_tune="ftjob-1", deprecation={"inference": ENDS}),
        model(FURTHER, model=BASE, fine_tune="ftjob-2", deprecation={"inference": ENDS}),
        model(STEP, model=BASE, fine_tune="ftjob-2", deprecation={"inference": ENDS}),
    ),
    "/openai/fine_tuning/jobs": listed(job(2, TUNED, FURTHER), job(1, BASE, TUNED), has_more=False),
    "/openai/fine_tuning/jobs/ftjob-1/events": listed(has_more=False),
    "/openai/fine_tuning/jobs/ftjob-2/events": listed(has_more=False),
    "/openai/fine_tuning/jobs/ftjob-1/checkpoints": listed(has_more=False),
    "/openai/fine_tuning/jobs/ftjob-2/checkpoints": listed(CHECKPOINT, has_more=False),
    "/openai/files": listed(FILE),
    "/openai/files/file-1/content": (200, {}, TRAINING),
    "/openai/batches": listed(has_more=False),
    "/openai/deployments/mini-support/chat/completions": (
        200,
        {},
        {
            "object": "chat.completion",
            "model": FURTHER,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "yes"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        },
    ),
}
NONE: Reply = (404, {}, {"error": {"code": "404", "message": "Resource not found"}})


def answer(asked: Asked) -> Reply:
    """Answer as the dated API and as `v1` do, each to its own way of asking."""
    parts = urlsplit(asked.path)
    if parts.path.startswith("/openai/v1/"):
        assert "api-version" not in parts.query
        assert asked.headers["authorization"] == "Bearer secret"
        return ANSWERS.get(parts.path.replace("/v1/", "/"), NONE)
    assert "api-version=2024-10-21" in parts.query
    assert asked.headers["api-key"] == "secret"
    return ANSWERS.get(parts.path, NONE)


@pytest.fixture(scope="module")
def azure() -> Iterator[Provider]:
    with provider(answer) as running:
        yield running


@pytest.fixture
def acme(azure: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("ACME_KEY", "secret")
    entry = {"kind": "azure", "base_url": azure.url, "api_key_variable": "ACME_KEY"}
    return add_profile(tmp_path, "acme", entry | {"api_version": "2024-10-21"})


@pytest.mark.parametrize("version", ["2024-10-21", None])
def test_tuned_models_are_known_by_azures_names_and_end_when_azure_says(
    acme: Profile, version: str | None
) -> None:
    acme = acme.model_copy(update={"api_version": version})
    found = look_around(open_client(acme))
    taken = take_stock(found, source_of(acme), date(2026, 11, 21))
    assert {each.id: each.ends_on for each in taken.models} == dict.fromkeys(
        (TUNED, FURTHER, STEP), date(2027, 10, 1)
    )
    assert {each.name for each in taken.models} == {BASE}
    assert taken.problems == ()
    [checkpoint] = (each for each in taken.things if each.kind == "checkpoint")
    assert checkpoint.ends_on == date(2027, 10, 1)
    assert f"{acme.address} has no list of evals" in taken.notes[0]
    assert "none of stored completions" in taken.notes[0]
    told = asyncio.run(permitted(acme, training=False, model=None))
    assert (told.tuned, told.shutdowns["2027-10-01"]) == (3, 3)


def test_its_archive_is_complete_and_trains_replacements(acme: Profile, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive_account(open_client(acme), folder, source_of(acme))
    manifest = archive_account(open_client(acme), folder, source_of(acme))  # no list has a cursor
    assert manifest.is_complete
    assert manifest.counts["file"] == {"kept": 1}
    assert Archive.open(folder).verify() == ()
    words = ["rescue", "retrain", FURTHER, "--archive", str(folder), "--base", "selftune/fake"]
    home = {"SELFTUNE_HOME": str(tmp_path)}
    done = CliRunner().invoke(app, [*words, "--no-wait", "--json"], env=home)
    [made] = json.loads(done.stdout)
    assert made["status"] == "validating_files", made
    store = open_store(Settings(home=tmp_path))
    caller = default_identity(store)
    spec = get_job(store, caller.project_id, made["job"]).spec
    file = get_file(store, caller.project_id, str(spec["training_file"]))
    assert store.blobs.local_path(file.sha256).read_bytes() == TRAINING * 2  # of both models
    assert (spec["suffix"], spec["hyperparameters"]["n_epochs"]) == ("support", 1)
    store.close()
    set_replacement(tmp_path, FURTHER, "selftune/fake")
    assert catalog(tmp_path).answering(FURTHER) == "selftune/fake"


def test_a_model_is_recorded_by_its_deployment_at_the_price_of_its_base(
    acme: Profile, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"messages": [{"role": "user", "content": "May I?"}]}\n', encoding="utf-8")
    words = ["rescue", "record", FURTHER, "--profile", acme.name, "--prompts", str(prompts)]
    words += ["--temperature", "1", "--repeats", "3", "--budget-dollars", "1", "--json"]
    home = {"SELFTUNE_HOME": str(tmp_path)}
    unnamed = CliRunner().invoke(app, words, env=home)
    assert "--deployment" in str(unnamed.exception)
    missing = CliRunner().invoke(app, [*words, "--deployment", "other"], env=home)
    assert "Check the name of the deployment" in missing.stderr
    done = CliRunner().invoke(app, [*words, "--deployment", "mini-support"], env=home)
    [kept] = json.loads(done.stdout)
    assert (kept["model"], kept["prompts"], kept["unanswered"]) == (FURTHER, 1, 0)
    assert kept["dollars"] == pytest.approx(4 * (10 * 0.30 + 2 * 1.20) / 1e6)
    set_replacement(tmp_path, "mini-support", "ft:gpt-4o-mini:acme::AbC")
    for name in (FURTHER, "mini-support"):  # never asked at OpenAI
        assert Home(Settings(home=tmp_path)).place(name) is None


def test_an_address_without_any_list_is_said_and_leaves_the_folder_free(
    acme: Profile, tmp_path: Path
) -> None:
    elsewhere = acme.model_copy(update={"base_url": f"{acme.base_url}/wrong"})
    folder = tmp_path / "archive"
    with pytest.raises(NotFound, match=r"none of the lists.*check the profile's base_url"):
        look_around(open_client(elsewhere))
    with pytest.raises(NotFound, match="none of the lists"):
        archive_account(open_client(elsewhere), folder, source_of(elsewhere))
    profile = find_profile(tmp_path, "acme")
    assert archive_account(open_client(profile), folder, source_of(profile)).is_complete
