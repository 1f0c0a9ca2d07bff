"""What a run may spend: it stops before more, and not long before."""

from pathlib import Path

import pytest
from tests.evaluate.scripted import AT, Scripted, echo, items, run

from selftune.core import errors
from selftune.evaluate.arms import Arm
from selftune.evaluate.evalfile import Limits
from selftune.models.answers import Answer, Question
from selftune.models.prices import Rates


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "responses.jsonl"


def test_a_budget_of_tokens_ends_a_run_before_it_is_passed(log: Path) -> None:
    endpoint = Scripted(echo)
    arms = (Arm(name="a", model="m", endpoint=AT, sampling={"max_tokens": 5}),)
    limits = Limits(budget_tokens=400)
    with pytest.raises(errors.BudgetSpent, match="a new budget"):
        run(endpoint, log, items(100), arms=arms, limits=limits)
    assert 0 < 15 * len(endpoint.asked) <= 400
    before = len(endpoint.asked)
    rest = Scripted(echo)
    found = run(rest, log, items(100), arms=arms)
    assert (len(rest.asked), found.totals.reused) == (100 - before, before)


def test_a_budget_of_dollars_counts_what_is_on_its_way(log: Path) -> None:
    endpoint = Scripted(echo)
    arms = (Arm(name="a", model="m", endpoint=AT, sampling={"max_tokens": 5}),)
    rates = Rates(input=1000, output=1000)
    with pytest.raises(errors.BudgetSpent):
        run(endpoint, log, items(100), arms=arms, limits=Limits(budget_dollars=0.3), rates=rates)
    assert 0 < 0.015 * len(endpoint.asked) <= 0.3


def test_a_budget_is_used_though_much_is_set_aside_for_what_is_on_its_way(log: Path) -> None:
    endpoint = Scripted(echo)  # each answer may have 1,024 tokens, and has 15
    run(endpoint, log, items(100), limits=Limits(budget_tokens=3000, concurrency=64))
    assert len(endpoint.asked) == 100


def test_an_answer_that_does_not_tell_its_usage_takes_what_was_set_aside(log: Path) -> None:
    def untold(asked: Question) -> Answer:
        return echo(asked).model_copy(update={"usage": None})

    rates = Rates(input=1000, output=1000)
    for number, limits in enumerate((Limits(budget_tokens=400), Limits(budget_dollars=0.4))):
        endpoint = Scripted(untold)
        arms = (Arm(name="a", model="m", endpoint=AT, sampling={"max_tokens": 50}),)
        other = log.with_name(f"{number}.jsonl")
        with pytest.raises(errors.BudgetSpent):
            run(endpoint, other, items(100), arms=arms, limits=limits, rates=rates)
        assert 0 < len(endpoint.asked) <= 8


def test_a_budget_of_dollars_needs_a_price(log: Path) -> None:
    endpoint = Scripted(echo)
    with pytest.raises(errors.InvalidInput, match="no price of 'm'"):
        run(endpoint, log, items(3), limits=Limits(budget_dollars=1))
    assert endpoint.asked == []


def test_dollars_are_unknown_where_a_price_or_the_usage_is(log: Path) -> None:
    assert run(Scripted(echo), log, items(1)).totals.dollars is None
    rates = Rates(input=1000, output=1000)

    def untold(asked: Question) -> Answer:
        return echo(asked).model_copy(update={"usage": None})

    other = log.with_name("other.jsonl")
    assert run(Scripted(echo), other, items(2), rates=rates).totals.dollars == pytest.approx(0.03)
    third = log.with_name("third.jsonl")
    assert run(Scripted(untold), third, items(2), rates=rates).totals.dollars is None


def test_what_a_request_carries_besides_messages_is_set_aside_for_too(log: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 900}}]
    asked = items(1)[0].model_copy(update={"request": {"tools": tools}})
    with pytest.raises(errors.BudgetSpent):
        run(Scripted(echo), log, (asked,), limits=Limits(budget_tokens=1100))
    run(Scripted(echo), log, items(1), limits=Limits(budget_tokens=1100))
