"""Which trial a search takes."""

import numpy as np
import pytest

from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters
from selftune.evaluate.items import Item
from selftune.planning.choice import chosen
from selftune.planning.errors import errors_of
from selftune.planning.log import Run

ITEMS = tuple(Item(index=n, id=str(n), item={}) for n in range(1, 101))


def run(
    epochs: int | None, passed: list[float | None], values: list[float | None] | None = None
) -> Run:
    asked = Hyperparameters() if epochs is None else Hyperparameters(n_epochs=epochs)
    return Run(
        key=str(epochs),
        rows=50,
        seed=1,
        asked=asked,
        used={},
        model="m",
        job="j",
        tokens=1,
        seconds=1.0,
        asking_seconds=1.0,
        passed=tuple(passed),
        values=tuple(values or passed),
        credits=tuple(passed),
    )


def right(first: int, of: int = 100) -> list[float | None]:
    """Return answers of which the first ones are right."""
    return [float(n < first) for n in range(of)]


def test_a_trial_that_is_clearly_better_is_taken() -> None:
    found = chosen(
        {0: run(None, right(60)), 1: run(2, right(58)), 2: run(4, right(80))}, "accuracy", ITEMS
    )
    assert (found.best, found.keep_auto) == (2, False)
    assert found.hyperparameters == Hyperparameters(n_epochs=4)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.2)
    assert found.p_value is not None
    assert found.p_value < 0.001
    assert found.words.startswith("Take trial 2, with accuracy 80.0 %. Trial 2 gains 20.0 points")


def test_a_gain_that_chance_would_bring_keeps_auto() -> None:
    found = chosen({0: run(None, right(60)), 1: run(2, right(62))}, "accuracy", ITEMS)
    assert found.keep_auto
    assert found.hyperparameters == Hyperparameters()
    assert "Keep auto: no trial is better beyond chance. Trial 1 gains 2.0 points" in found.words


def test_the_best_of_many_equal_trials_is_not_taken_for_better() -> None:
    random = np.random.default_rng(2)
    taken = 0
    for _ in range(40):
        truth = random.random(100)
        draws = [(truth + random.normal(0, 0.3, 100) > 0.4).astype(float) for _ in range(9)]
        runs = {n: run(n or None, list(draw)) for n, draw in enumerate(draws)}
        taken += not chosen(runs, "accuracy", ITEMS).keep_auto
    # 5 % of 40 is 2; picked and tested plainly, most searches would take one.
    assert taken <= 6


def test_less_error_is_better() -> None:
    low: list[float | None] = [10.0 + n % 3 for n in range(100)]
    high: list[float | None] = [14.0 + n % 4 for n in range(100)]
    found = chosen({0: run(None, right(1), high), 1: run(3, right(1), low)}, "error", ITEMS)
    assert found.best == 1
    assert found.gain is not None
    assert found.gain.value == pytest.approx(4.51, abs=0.01)


def test_items_without_a_score_judge_nobody() -> None:
    known = right(60)
    first: list[float | None] = [None, *known[1:]]
    table, left_out = errors_of([run(None, first), run(2, known)], "accuracy")
    assert left_out == 1
    assert np.isnan(table[0, 0])
    with pytest.raises(InvalidInput, match="No question has a score"):
        errors_of([run(None, [None] * 100)], "accuracy")


@pytest.mark.parametrize(
    ("metric", "value", "words"), [("score", 4.0, "not from 0 to 1"), ("error", -1.0, "below 0")]
)
def test_a_metric_that_the_graders_do_not_give_is_refused(
    metric: str, value: float, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        errors_of([run(None, [value] * 3)], "score" if metric == "score" else "error")
