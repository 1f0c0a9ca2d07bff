"""Prices have a date and a source; what is not known is None; your own file goes over them."""

from pathlib import Path

import pytest

from selftune.core.errors import InvalidInput
from selftune.models import prices


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"])
def test_a_short_name_and_a_dated_name_have_the_price_of_the_base(name: str) -> None:
    price = prices.find(name)
    assert price is not None
    assert (price.training, price.rates(name).input, price.rates(name).output) == (3.0, 0.15, 0.60)


@pytest.mark.parametrize(
    "name",
    [
        "ft:gpt-4o-mini-2024-07-18:acme:support:Ab12Cd34",
        "gpt-4o-mini-2024-07-18.ft-72a2792ef7d24ba7b82c7fe4a37e379f-support:ckpt-step-10",
    ],
)
def test_a_fine_tune_has_the_price_of_fine_tunes(name: str) -> None:
    price = prices.find(name)
    assert price is not None
    assert (price.rates(name).input, price.rates(name).output) == (0.30, 1.20)


def test_an_unknown_model_has_no_price() -> None:
    assert prices.find("gpt-9") is None


def test_a_price_that_nobody_stated_is_none() -> None:
    price = prices.find("gpt-3.5-turbo")
    assert price is not None
    assert price.rates("gpt-3.5-turbo").input is None
    assert price.rates("ft:gpt-3.5-turbo-0125:acme::x").cached_input is None


@pytest.mark.parametrize(
    "name",
    [
        "selftune/minilm",
        "ft:selftune/minilm:acme::Ab12Cd34",
        "ft:selftune-minilm:acme:persona:Ab12Cd34",
    ],
)
def test_a_local_base_and_its_fine_tunes_cost_no_tokens(name: str) -> None:
    price = prices.find(name)
    assert price is not None
    assert price.is_local
    assert price.training == 0
    assert price.rates(name) == prices.FREE


def test_every_price_has_a_day_and_a_source() -> None:
    assert all(price.as_of and price.source for price in prices.load().price)


def test_openais_snapshot_says_that_it_is_one() -> None:
    price = prices.find("gpt-4.1")
    assert price is not None
    assert "November 2025" in str(price.note)


def test_limits_of_examples_are_known_where_they_were_stated() -> None:
    limits = {price.id: price.example_limit for price in prices.load().price}
    assert limits["gpt-4o-mini-2024-07-18"] == 65_536
    assert limits["gpt-3.5-turbo-0125"] == 16_385
    assert limits["gpt-4.1-2025-04-14"] is None


def test_your_own_file_overrides_one_figure_and_adds_a_model(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(
        '[[price]]\nid = "gpt-4o-mini-2024-07-18"\nas_of = "2026-11-01"\ntraining = 4.0\n'
        '[[price]]\nid = "mine"\nas_of = "2026-11-01"\nsource = "our contract"\n'
        "base = { input = 1.0, output = 2.0 }\n"
    )
    mini, mine = prices.find("gpt-4o-mini", own), prices.find("mine", own)
    assert mini is not None
    assert mine is not None
    assert (mini.training, mini.as_of, mini.source, mini.note) == (
        4.0,
        "2026-11-01",
        "prices.toml",
        None,
    )
    assert mini.rates("gpt-4o-mini").input == 0.15
    assert mine.rates("mine").output == 2.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml", "are not TOML"),
        ("", r"\[\[price\]\] table"),
        ('[[price]]\nid = "x"\n', "'x' needs id and as_of"),
        ('[[price]]\nid = "x"\nas_of = "2026"\ntraining = -1.0\n', "'x', training: .*greater"),
        ('[[price]]\nid = "x"\nas_of = "2026"\nprice = 1.0\n', "'x', price: Extra"),
        ('[[price]]\nid = "x"\nas_of = "2026"\ntraining = nan\n', "'x', training"),
    ],
)
def test_a_bad_file_of_prices_is_refused_with_the_entry_and_the_rule(
    tmp_path: Path, text: str, says: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(InvalidInput, match=says):
        prices.load(own)


def test_a_file_of_prices_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.toml.*cannot be read"):
        prices.load(tmp_path / "nowhere.toml")
