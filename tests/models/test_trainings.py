"""How long a training may take comes from measurements that are committed."""

import json
from pathlib import Path
from typing import Any

import pytest

from selftune.models.trainings import duration, trainings

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
BASE = "selftune/minilm"


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in _numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in _numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("one", trainings().training, ids=lambda one: one.source)
def test_every_measurement_stands_in_the_results_that_it_names(one: Any) -> None:
    found = json.loads((RESULTS / one.source.split(",")[0]).read_text(encoding="utf-8"))
    assert all(any(abs(n - wanted) < 1 for n in _numbers(found)) for wanted in one.seconds)


def test_what_was_measured_lies_within_the_estimate() -> None:
    found = duration(BASE, "labels", 6_139)
    assert found is not None
    assert found.fastest_seconds <= 59
    assert found.slowest_seconds >= 40
    assert found.megabytes == 1557


def test_a_large_file_of_labels_is_estimated_by_the_large_one_that_was_measured() -> None:
    found = duration(BASE, "labels", 177_721)
    assert found is not None
    assert found.sources == ("quality_banking77.json, all rows",)
    assert found.slowest_seconds == pytest.approx(44)


def test_epochs_that_are_asked_for_make_it_longer() -> None:
    three, six = (duration(BASE, "labels", 177_721, epochs) for epochs in (3, 6))
    assert three is not None
    assert six is not None
    assert six.slowest_seconds > 1.9 * three.slowest_seconds > 1000


def test_what_was_never_measured_is_unknown() -> None:
    assert duration("gpt-4o-mini", "labels", 1000) is None
