"""Money is counted by the million tokens, once; the published figures of a real project show why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.models.costs import (
    Request,
    break_even,
    cost,
    cost_per_thousand,
    cost_per_year,
    percent_change,
    training_cost,
)
from selftune.models.prices import Rates, find

MINI = "gpt-4o-mini-2024-07-18"
TUNED = f"ft:{MINI}:acme::Ab12Cd34"
TOKENS_BEFORE, TOKENS_AFTER = 99.8, 79.8
SECONDS_BEFORE, SECONDS_AFTER = 1.61, 1.06
"""What a published assistant for company policies measured: 164 chats, 40 questions."""


def _rates(model: str) -> Rates:
    price = find(model)
    assert price is not None
    return price.rates(model)


def test_the_published_cost_of_a_thousand_queries_was_a_thousand_times_too_high() -> None:
    """Published: $14.97 and $11.97, for tokens all billed as the base's input."""
    before = Request(prompt_tokens=TOKENS_BEFORE, completion_tokens=0)
    after = Request(prompt_tokens=TOKENS_AFTER, completion_tokens=0)
    rates = Rates(input=0.150, output=0.0)
    assert cost_per_thousand(before, rates) == pytest.approx(0.01497)
    assert cost_per_thousand(after, rates) == pytest.approx(0.01197)
    assert 14.97 / (cost_per_thousand(before, rates) or 0) == pytest.approx(1000)


def test_the_published_saving_of_300_dollars_a_year_is_30_cents() -> None:
    """Published: about $300 for 100,000 queries in a year."""
    rates, a_day = Rates(input=0.150, output=0.0), 100_000 / 365
    before = cost_per_year(Request(prompt_tokens=TOKENS_BEFORE, completion_tokens=0), rates, a_day)
    after = cost_per_year(Request(prompt_tokens=TOKENS_AFTER, completion_tokens=0), rates, a_day)
    assert before is not None
    assert after is not None
    assert before - after == pytest.approx(0.30)


def test_at_the_price_of_a_fine_tune_the_published_saving_is_a_loss() -> None:
    """The published sum billed the fine-tune at the base's price; a fine-tune costs twice that."""
    before = cost(Request(prompt_tokens=TOKENS_BEFORE, completion_tokens=0), _rates(MINI))
    after = cost(Request(prompt_tokens=TOKENS_AFTER, completion_tokens=0), _rates(TUNED))
    assert after == pytest.approx(79.8e-6 * 0.30)
    found = break_even(training_cost(164 * 150, 3, 3.00), before, after, 100_000 / 365)
    assert found.requests is None
    assert found.reason == "never: requests then cost $0.0090 more for 1,000"


def test_the_published_training_cost_had_the_wrong_rate_and_no_epochs() -> None:
    """Published: 164 examples x 150 tokens x $0.100 a million = $2.46; that product is $0.00246."""
    assert training_cost(164 * 150, 1, 0.100) == pytest.approx(0.00246)
    assert training_cost(164 * 150, 3, 3.00) == pytest.approx(0.2214)


def test_from_1_61_to_1_06_seconds_is_34_2_percent_faster() -> None:
    """Published: 43.8 % faster. The change is 100 x (1.06 / 1.61 - 1)."""
    assert percent_change(SECONDS_BEFORE, SECONDS_AFTER) == pytest.approx(-34.2, abs=0.05)
    assert percent_change(TOKENS_BEFORE, TOKENS_AFTER) == pytest.approx(-20.0, abs=0.05)


def test_were_a_fine_tune_billed_as_its_base_it_would_pay_back_after_73_800_queries() -> None:
    """$0.2214 of training / $0.000003 saved on each query."""
    saved = 20 / 1e6 * 0.150
    found = break_even(0.2214, 0.00001497, 0.00001497 - saved, 1000)
    assert found.requests == pytest.approx(73_800, abs=1)
    assert found.days == pytest.approx(73.8, abs=0.01)


def test_prompt_cached_and_completion_tokens_have_their_own_rates() -> None:
    rates = Rates(input=2.0, cached_input=0.5, output=8.0, batch_input=1.0, batch_output=4.0)
    request = Request(prompt_tokens=1500, cached_tokens=1000, completion_tokens=100)
    assert cost(request, rates) == pytest.approx((500 * 2.0 + 1000 * 0.5 + 100 * 8.0) / 1e6)
    plain = Request(prompt_tokens=1500, completion_tokens=100)
    assert cost(plain, rates, "batch") == pytest.approx((1500 * 1.0 + 100 * 4.0) / 1e6)


def test_a_rate_that_is_needed_and_not_known_makes_the_cost_unknown() -> None:
    request = Request(prompt_tokens=10, completion_tokens=10)
    assert cost(request, Rates(input=1.0)) is None
    assert cost(Request(prompt_tokens=10, completion_tokens=0), Rates(input=1.0)) is not None
    assert cost_per_thousand(request, Rates()) is None
    assert cost_per_year(request, Rates(), 1.0) is None
    assert training_cost(10, 1, None) is None


def test_a_break_even_without_prices_is_unknown_and_not_never() -> None:
    found = break_even(1.0, None, 0.1)
    assert (found.requests, found.reason) == (None, "unknown: a price is not known")


def test_a_free_training_that_saves_pays_at_once() -> None:
    assert break_even(0.0, 0.1, 0.0, 5).requests == 0


def test_there_is_no_percentage_of_zero() -> None:
    with pytest.raises(ValueError, match="percentage of zero"):
        percent_change(0, 1)


@given(
    training=st.floats(0.01, 1e4),
    after=st.floats(0, 1),
    saved=st.floats(1e-6, 1),
)
def test_at_break_even_the_saving_covers_the_training_and_one_request_less_does_not(
    training: float, after: float, saved: float
) -> None:
    before = after + saved
    found = break_even(training, before, after)
    assert found.requests is not None
    assert found.requests * (before - after) >= training * (1 - 1e-9)
    assert (found.requests - 1) * (before - after) < training * (1 + 1e-9)
