"""What data costs: exact tokens times known prices, and `unknown` where a price is not known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.test_open_tokenizer import make_model

from selftune.core.errors import InvalidInput
from selftune.core.runfile import Template
from selftune.data.counting.lengths import measure, tokenizer_of
from selftune.data.counting.requests import BARE, TUNED, WHOLE
from selftune.data.estimate import EstimateOptions, estimate
from selftune.data.read import ReadOptions

DATA = Path(__file__).parents[3] / "shared" / "data"
MINI = "gpt-4o-mini"


def rows(count: int = 40, system: str | None = "Sort the message. " * 30) -> list[dict[str, Any]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return [
        {
            "messages": [
                *first,
                {"role": "user", "content": f"Message number {number}, please."},
                {"role": "assistant", "content": "billing" if number % 2 else "delivery"},
            ]
        }
        for number in range(count)
    ]


def options(*models: str, **more: Any) -> EstimateOptions:
    return EstimateOptions(models=models, **more)


def request(found: Any, model: str, variant: str) -> Any:
    return next(one for one in found.requests if (one.model, one.variant) == (model, variant))


def test_training_costs_tokens_times_epochs_times_the_rate() -> None:
    tokens = int(measure(rows(), tokenizer_of(MINI)).total.sum())
    found = estimate(rows(), options(MINI)).trainings[0]
    assert found.tokens == tokens
    assert found.epochs is not None
    assert found.dollars == pytest.approx(tokens * found.epochs.value * 3.00 / 1e6)
    assert (found.as_of, found.limit) == ("2025-11", 65_536)


def test_an_example_is_billed_up_to_the_limit_of_the_model() -> None:
    long = {
        "messages": [
            {"role": "user", "content": "word " * 20_000},
            {"role": "assistant", "content": "yes"},
        ]
    }
    found = estimate([*rows(9), long], options("gpt-3.5-turbo", epochs=1))
    training, count = found.trainings[0], found.counts[0]
    assert count.example.most > 16_385
    assert training.tokens == count.example.total - count.example.most + 16_385
    assert (training.cut_examples, training.lost_answers) == (1, 1)


def test_a_limit_that_is_not_known_cuts_nothing() -> None:
    found = estimate(rows(), options("gpt-4.1-mini")).trainings[0]
    assert (found.limit, found.cut_examples) == (None, 0)


def test_a_model_without_a_price_is_unknown_and_not_free() -> None:
    found = estimate(rows(), options("gpt-9"))
    assert found.trainings[0].dollars is None
    assert all(one.thousand is None for one in found.requests)
    assert found.paybacks[0].reason == "unknown: a price is not known"
    assert any("No price is known of gpt-9" in note for note in found.notes)


@pytest.mark.parametrize("name", ["selftune/minilm", "ft:selftune-minilm:acme::AbC"])
def test_a_local_base_costs_nothing_and_has_a_time(name: str) -> None:
    training = estimate(rows(), options(name)).trainings[0]
    assert (training.dollars, training.is_local, training.epochs) == (0.0, True, None)
    assert training.duration is not None
    assert training.duration.slowest_seconds >= training.duration.fastest_seconds > 0


def test_requests_cost_less_without_the_system_prompt() -> None:
    lengths = measure(rows(), tokenizer_of(MINI))
    found = estimate(rows(), options(MINI, requests_per_day=1000))
    whole, tuned, bare = (request(found, MINI, name) for name in (WHOLE, TUNED, BARE))
    prompt, answer = lengths.prompt.mean(), lengths.answer.mean()
    assert whole.thousand == pytest.approx((prompt * 0.15 + answer * 0.60) / 1e3)
    assert tuned.thousand == pytest.approx((prompt * 0.30 + answer * 1.20) / 1e3)
    without = prompt - lengths.system.mean()
    assert bare.thousand == pytest.approx((without * 0.30 + answer * 1.20) / 1e3)
    assert bare.thousand_batch == pytest.approx(bare.thousand / 2)
    assert whole.year == pytest.approx(whole.thousand * 365)


def test_the_training_has_paid_for_itself_when_the_saving_covers_it() -> None:
    found = estimate(rows(), options(MINI, requests_per_day=10, compare="gpt-4.1"))
    saved = request(found, MINI, WHOLE).one - request(found, MINI, BARE).one
    payback = next(one for one in found.paybacks if one.against == MINI)
    assert payback.requests is not None
    assert payback.requests == np.ceil(found.trainings[0].dollars / saved)
    assert payback.days == pytest.approx(payback.requests / 10)
    larger = next(one for one in found.paybacks if one.against == "gpt-4.1")
    assert larger.requests is not None
    assert larger.requests < payback.requests


def test_a_fine_tune_without_a_prompt_to_drop_never_pays_against_its_base() -> None:
    found = estimate(rows(system=None), options(MINI))
    assert found.paybacks[0].requests is None
    assert found.paybacks[0].reason.startswith("never: requests then cost $")
    assert {one.variant for one in found.requests} == {WHOLE, TUNED}


def test_comparing_a_model_with_itself_by_another_name_says_nothing_twice() -> None:
    found = estimate(rows(), options("gpt-4.1", compare="gpt-4.1-2025-04-14"))
    assert [one.against for one in found.paybacks] == ["gpt-4.1"]


def test_a_shared_beginning_of_1024_tokens_is_cached_by_steps_of_128() -> None:
    system = "Sort the message. " * 300
    tokens = int(measure(rows(system=system), tokenizer_of(MINI)).system[0])
    found = estimate(rows(system=system), options(MINI))
    assert found.counts[0].asked.cached_tokens == tokens // 128 * 128 > 1024
    whole = request(found, MINI, WHOLE)
    saved = found.counts[0].asked.cached_tokens * (0.15 - 0.075) / 1e3
    assert whole.thousand_cached == pytest.approx(whole.thousand - saved)
    short = estimate(rows(), options(MINI))
    assert short.counts[0].asked.cached_tokens == 0
    assert request(short, MINI, WHOLE).thousand_cached is None


def test_without_models_all_that_train_on_such_rows_are_estimated() -> None:
    chats = {one.model for one in estimate(rows()).trainings}
    assert "gpt-4.1-2025-04-14" in chats
    assert "selftune/minilm" in chats
    assert "davinci-002" not in chats
    completions = [{"prompt": f"{n} and", "completion": " so on"} for n in range(20)]
    assert "davinci-002" in {one.model for one in estimate(completions).trainings}


def test_reinforcement_is_billed_by_the_hour_and_not_by_tokens() -> None:
    asked = [{"messages": [{"role": "user", "content": f"{n}?"}], "answer": n} for n in range(12)]
    found = estimate(asked, options("o4-mini"))
    assert found.trainings[0].dollars is None
    assert "billed at $100 for each hour" in " ".join(found.notes)
    assert "No row ends with an answer" in " ".join(found.notes)


def test_a_fine_tune_can_be_trained_further_at_its_own_price_of_requests() -> None:
    name = "ft:gpt-4o-mini-2024-07-18:acme::Ab12Cd34"
    found = estimate(rows(), options(name, name))
    assert len(found.trainings) == 1
    assert found.trainings[0].dollars is not None
    assert request(found, name, WHOLE).thousand == request(found, name, TUNED).thousand


def test_notes_say_the_day_of_prices_and_of_shutdowns() -> None:
    notes = " ".join(estimate(rows(), options(MINI)).notes)
    assert "November 2025" in notes
    assert "shuts down on 2027-01-14, with their fine-tunes: gpt-4o-mini-2024-07-18." in notes


def test_an_open_models_folder_counts_by_its_own_tokenizer_and_bills_nothing(
    tmp_path: Path,
) -> None:
    folder = str(make_model(tmp_path / "model"))
    found = estimate(rows(), options(folder, compare="gpt-4.1"))
    assert found.counts[0].tokenizer == folder
    training = found.trainings[0]
    assert (training.dollars, training.duration, training.is_local) == (0.0, None, True)
    assert [one.requests for one in found.paybacks] == [0]


def test_your_own_prices_are_used(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[[price]]\nid = "gpt-9"\nas_of = "2026-11"\ntraining = 1.0\n', "utf-8")
    found = estimate(rows(), options("gpt-9", prices=own, epochs=1))
    training = found.trainings[0]
    assert training.dollars == pytest.approx(training.tokens / 1e6)
    assert training.source == "own.toml"


def test_lines_that_are_no_rows_are_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    lines = [json.dumps(row) for row in rows(12)]
    path.write_text("\n".join([*lines[:5], "{broken", *lines[5:]]), encoding="utf-8")
    found = estimate(path, options(MINI))
    assert (found.examples, found.unreadable) == (12, 1)
    assert any("1 lines are no rows" in note for note in found.notes)


def test_rows_of_fields_need_a_template(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\nWhere is it?,delivery\nToo much,billing\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"rows of fields \(text, label\), not chats"):
        estimate(path)
    template = Template(user="{{ text }}", assistant="{{ label }}")
    assert estimate(path, options(MINI, read=ReadOptions(template=template))).examples == 2


@pytest.mark.parametrize("text", ["", "\n\n", "nothing\nhere\n"])
def test_a_source_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"train\.jsonl"):
        estimate(path)


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
def test_the_published_policy_assistant_saves_nothing_by_dropping_its_prompt() -> None:
    """Its training costs 39,860 tokens x 3 x $3; the answers are long, and a fine-tune's cost double."""
    found = estimate(DATA / "policy" / "train.jsonl", options(MINI, epochs=3))
    assert found.trainings[0].tokens == 39_860
    assert found.trainings[0].dollars == pytest.approx(0.35874)
    assert found.paybacks[0].requests is None


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
def test_the_long_prompt_of_the_intents_pays_the_training_back() -> None:
    found = estimate(DATA / "hospitality" / "train.jsonl", options(MINI, requests_per_day=1000))
    assert found.counts[0].asked.system_tokens == 666
    assert found.paybacks[0].requests == 25_937
