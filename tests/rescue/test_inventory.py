"""What an account has, and what of it ends when: from the stand-in, and from answers of any shape."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from tests.rescue.stand_in import SMALL, Quirks, StandIn, stand_in

from selftune.core.errors import AuthenticationFailed, Unavailable
from selftune.models.catalog import catalog
from selftune.rescue.archive.format import Source
from selftune.rescue.inventory import Found, Inventory, Thing, take_stock
from selftune.rescue.inventory_asking import look_around
from selftune.rescue.inventory_page import to_html
from selftune.rescue.shutdowns import Calendar, shutdowns

TODAY = date(2026, 11, 21)
OPENAI = Source(profile="openai", kind="openai", base_url="https://api.openai.com/v1")
MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support:AbCd1234"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    quirks = Quirks(most_listed=5, fault_share=0.03, seed=2)
    with stand_in(tmp_path_factory.mktemp("openai"), quirks=quirks) as running:
        yield running


def ran(played: StandIn, home: Path, *arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "selftune", "rescue", "inventory", *arguments],
        env=played.environment | {"SELFTUNE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def stock(found: Found, source: Source = OPENAI, today: date = TODAY) -> Inventory:
    return take_stock(found, source, today)


def only(inventory: Inventory, kind: str) -> Thing:
    [thing] = [each for each in inventory.things if each.kind == kind]
    return thing


def test_everything_is_counted_and_sorted_by_the_days_that_are_left(
    played: StandIn, tmp_path: Path
) -> None:
    page = tmp_path / "inventory.html"
    run = ran(played, tmp_path, "--json", "--html", str(page))
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert {group["name"]: group["count"] for group in told["groups"]} == {
        "evals": SMALL.evals,
        "eval runs": SMALL.runs,
        "output items": SMALL.items,
        "jobs": SMALL.jobs,
        "job events": 169,
        "tuned models": SMALL.models,
        "checkpoints": 9,
        "files": 9,
        "result files": 3,
        "batches": SMALL.batches,
        "stored completions": SMALL.completions,
    }
    days = [group["ends_on"] for group in told["groups"] if group["ends_on"]]
    assert days == sorted(days)
    assert days[:3] == ["2026-11-30"] * 3
    assert [group["ends_on"] for group in told["groups"]][-1] is None
    ends = {thing["kind"]: thing["ends_on"] for thing in told["things"]}
    assert (ends["model"], ends["job"]) == ("2027-01-14", "2027-01-06")
    text = page.read_text("utf-8")
    assert all(model in text for model in played.account.models)
    assert played.key not in text + run.stdout + run.stderr


def test_what_is_missing_and_what_was_seen_in_use_is_said(played: StandIn) -> None:
    found = look_around(played.async_client(max_retries=8))
    inventory = stock(found)
    first, last = (
        next(thing for thing in inventory.models if thing.id == name)
        for name in played.account.models
    )
    assert first.problems == ()
    assert first.used[0].endswith("in a stored completion")
    assert first.uses > SMALL.completions
    assert last.problems == (f"its training file {played.account.lost_training_file} is gone",)
    gone = [said for thing, said in inventory.problems if thing.kind == "job"]
    assert len(gone) == 1
    assert gone[0].startswith("its model ft:gpt-4.1-mini-2025-04-14:acme:router:")
    assert inventory.problems[0][0].id == last.id  # models come first
    questions = next(thing for thing in inventory.things if thing.name == "questions.jsonl")
    assert questions.uses == SMALL.runs
    assert not found.refused


def test_a_table_is_shown_to_people(played: StandIn, tmp_path: Path) -> None:
    run = ran(played, tmp_path, "--all")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].split()[:3] == ["days", "left", "ends"]
    assert "evals" in lines[1]
    assert played.account.models[0] in run.stdout
    assert played.account.batches[0] in run.stdout
    assert "not against the real service" in run.stdout


def test_lists_that_may_not_be_seen_are_said_and_the_rest_is_shown(played: StandIn) -> None:
    played.quirks.forbidden.add("batches")
    try:
        inventory = stock(look_around(played.async_client(max_retries=8)))
    finally:
        played.quirks.forbidden.clear()
    assert "batch" not in {thing.kind for thing in inventory.things}
    assert inventory.notes[0].startswith("batches could not be read: 403: You have insufficient")
    assert len(inventory.models) == SMALL.models


def test_a_key_that_is_not_accepted_ends_it(played: StandIn) -> None:
    client = played.async_client().with_options(api_key="sk-wrong")
    with pytest.raises(AuthenticationFailed):
        look_around(client)


def test_a_provider_that_does_not_answer_is_said(tmp_path: Path, free_port: int) -> None:
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{free_port}/v1", api_key="x", max_retries=0)
    with pytest.raises(Unavailable, match=r"does not answer: .*run it again"):
        look_around(client)


def test_the_provider_s_own_date_comes_before_the_table() -> None:
    listed = {"id": MODEL, "created": 1, "shutdown_date": "2026-12-24"}
    model = only(stock(Found(models=[listed])), "model")
    assert (model.ends_on, model.days_left) == (date(2026, 12, 24), 33)
    assert model.why == "/v1/models says so"
    silent = only(stock(Found(models=[{"id": MODEL, "shutdown_date": None}])), "model")
    assert (silent.ends_on, silent.days_left) == (date(2027, 1, 14), 54)


@pytest.mark.parametrize(
    ("base", "ends"),
    [
        ("gpt-4.1-nano-2025-04-14", date(2026, 10, 23)),
        ("o4-mini-2025-04-16", date(2026, 10, 23)),
        ("davinci-002", date(2026, 9, 28)),
        ("gpt-4o-mini", date(2027, 1, 14)),
        ("something-else", None),
    ],
)
def test_fine_tunes_end_with_their_bases(base: str, ends: date | None) -> None:
    assert Calendar("openai", TODAY).of_model(base).on == ends


def test_a_day_that_is_over_is_said_to_be_over() -> None:
    inventory = stock(Found(models=[{"id": MODEL}]), today=date(2027, 2, 1))
    assert only(inventory, "model").days_left == -18
    assert "over" in to_html(inventory)


def test_a_completion_ends_after_thirty_days_unless_it_is_there_all_the_same() -> None:
    young = {"id": "chatcmpl-1", "created": 1_763_700_000 + 31_536_000, "model": MODEL}
    old = young | {"id": "chatcmpl-2", "created": 1_700_000_000}
    inventory = stock(Found(completions=[old, young]))
    ends = {thing.id: thing.ends_on for thing in inventory.things}
    assert ends == {"chatcmpl-1": date(2026, 12, 21), "chatcmpl-2": None}


def test_a_model_of_a_checkpoint_has_the_job_and_the_end_of_its_base() -> None:
    step = "ft:gpt-4o-mini-2024-07-18:acme:support:EfGh5678:ckpt-step-80"
    made = {"id": "ftjob-1", "model": MODEL, "training_file": "file-1"}
    checkpoint = {"id": "ftckpt_1", "fine_tuned_model_checkpoint": step}
    files = [{"id": "file-1"}]
    found = Found(models=[{"id": step}], jobs=[made], checkpoints={"ftjob-1": [checkpoint]})
    assert only(stock(found), "model").problems == ("its training file file-1 is gone",)
    found.files = files
    assert only(stock(found), "model").problems == ()
    assert only(stock(found), "checkpoint").ends_on == date(2027, 1, 14)


def test_what_a_refused_list_would_tell_is_not_said_to_be_missing() -> None:
    found = Found(models=[{"id": MODEL}], refused={"jobs": "403: no"})
    assert stock(found).problems == ()


def test_times_that_are_none_are_left_out() -> None:
    odd = {"id": "1", "created_at": 1_770_000_000_000, "expires_at": 10**30, "created": "now"}
    inventory = stock(Found(models=[{"id": MODEL, **odd}], files=[odd], completions=[odd]))
    assert {thing.created_at for thing in inventory.things} == {None}
    assert "What ends when" in to_html(inventory)


def test_of_other_providers_no_date_is_assumed() -> None:
    azure = Source(profile="acme", kind="azure", base_url="https://acme.openai.azure.com")
    found = Found(models=[{"id": MODEL}], evals=[{"id": "eval_1"}], jobs=[{"id": "ftjob-1"}])
    inventory = stock(found, azure)
    assert {thing.ends_on for thing in inventory.things} == {None}
    assert any("ask your provider" in note for note in inventory.notes)


def test_of_things_that_end_on_several_days_the_first_are_counted() -> None:
    old = {"id": "ft:davinci-002:acme::AbCd1234"}
    inventory = stock(Found(models=[{"id": MODEL}, old], batches=[{"id": "batch_1"}]))
    [models, _] = inventory.groups
    assert (models.count, models.first, models.ends_on) == (2, 1, date(2026, 9, 28))
    assert "1 of them on this day" in models.why
    page = to_html(inventory)
    assert "1 tuned model<br>" in page
    assert "<summary>1 batch</summary>" in page


def test_a_file_that_says_when_it_expires_ends_then() -> None:
    file = {"id": "file-1", "filename": "a.jsonl", "expires_at": 1_796_083_200, "bytes": 7}
    assert only(stock(Found(files=[file])), "file").ends_on == date(2026, 12, 1)


def test_names_of_any_kind_stay_text_on_the_page() -> None:
    nasty = "<script>alert(1)</script>{{ 7 * 7 }}"
    file = {"id": nasty, "filename": nasty, "created_at": "yesterday", "bytes": None}
    page = to_html(stock(Found(files=[file], refused={nasty: nasty})))
    assert "<script>alert" not in page
    assert "{{ 7 * 7 }}" in page


def test_an_empty_account_has_an_inventory() -> None:
    inventory = stock(Found())
    assert (inventory.groups, inventory.things) == ((), ())
    assert "What ends when" in to_html(inventory)


def test_the_table_names_its_source_and_says_nothing_that_the_catalogue_says() -> None:
    table = shutdowns()
    assert "deprecations page" in table.source
    named = {name for one in table.base for name in one.ids}
    assert not named & {alias.id for alias in catalog().alias}
