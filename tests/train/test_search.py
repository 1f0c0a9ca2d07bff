"""Which hyperparameters are tried next."""

import math
import sys

import pytest

from selftune.core.errors import MissingExtra
from selftune.core.records import Hyperparameters
from selftune.train.search import Tried, expected_seconds, propose, require_optimiser

AUTO = Tried(asked=Hyperparameters(), error=0.3, seconds=4.0)


def trial(epochs: int, error: float | None = 0.3, seconds: float = 1.0) -> Tried:
    asked = Hyperparameters(n_epochs=epochs, batch_size=8, learning_rate_multiplier=1.0)
    return Tried(asked=asked, error=error, seconds=seconds)


def loss(asked: Hyperparameters) -> float:
    """Return what is least at 4 epochs, batches of 16 and a multiplier of 3."""
    epochs, batch, rate = asked.n_epochs, asked.batch_size, asked.learning_rate_multiplier
    assert epochs != "auto"
    assert batch != "auto"
    assert rate != "auto"
    return (
        math.log(epochs / 4) ** 2 + 0.3 * math.log2(batch / 16) ** 2 / 4 + math.log(rate / 3) ** 2
    )


def search(seed: int, trials: int) -> list[Tried]:
    tried = [AUTO]
    while len(tried) <= trials:
        asked = propose(tried, rows=400, seed=seed)
        assert asked is not None
        tried.append(Tried(asked=asked, error=loss(asked), seconds=1.0))
    return tried[1:]


def test_a_search_that_goes_on_proposes_what_an_unbroken_one_would() -> None:
    whole = search(7, 12)
    for cut in (1, 6, 11):
        assert propose([AUTO, *whole[:cut]], rows=400, seed=7) == whole[cut].asked


def test_nothing_is_tried_twice() -> None:
    asked = [one.asked for one in search(3, 25)]
    assert len(set(asked)) == len(asked)


def test_the_optimiser_learns_from_what_was_tried() -> None:
    gains = []
    for seed in (1, 2, 3):
        errors = [one.error for one in search(seed, 30) if one.error is not None]
        gains.append(sum(errors[:10]) / 10 - sum(errors[20:]) / 10)
    assert min(gains) > 0.3  # later trials are better ones


def test_a_batch_leaves_some_steps_to_an_epoch() -> None:
    tried = [AUTO]
    for _ in range(15):
        asked = propose(tried, rows=40, seed=1)
        assert asked is not None
        assert asked.batch_size != "auto"
        assert asked.batch_size <= 10
        tried.append(Tried(asked=asked, error=1.0, seconds=1.0))


def test_a_failed_trial_is_told_as_one() -> None:
    tried = [AUTO, *(trial(n, error=None) for n in range(1, 9))]
    assert propose(tried, rows=400, seed=1) is not None


@pytest.mark.parametrize(
    ("tried", "epochs", "seconds"),
    [
        ([], 3, None),
        ([AUTO], 3, 4.0),
        ([AUTO, trial(2, seconds=3.0)], 8, 4.0),
        ([AUTO, trial(2, seconds=3.0), trial(4, seconds=5.0)], 8, 9.0),
        ([AUTO, trial(2, seconds=9.0), trial(4, seconds=5.0)], 8, 4.0),
    ],
)
def test_time_is_expected_from_earlier_trials(
    tried: list[Tried], epochs: int, seconds: float | None
) -> None:
    assert expected_seconds(tried, trial(epochs).asked) == seconds


def test_without_the_optimiser_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"selftune\[plan\]"):
        require_optimiser()
