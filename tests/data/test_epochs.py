"""Epochs are resolved as OpenAI's cookbook says, with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.data.counting.epochs import resolve_epochs


@pytest.mark.parametrize(
    ("examples", "epochs", "reason"),
    [
        (1, 25, "25 epochs at most"),
        (4, 25, "so that about 100"),
        (10, 10, "10 examples are few"),
        (33, 3, "33 examples are few"),
        (34, 3, "3 epochs of 34 examples"),
        (164, 3, "3 epochs of 164 examples"),
        (8_333, 3, "3 epochs of 8333"),
        (8_334, 2, "at most 25000"),
        (10_003, 2, "at most 25000"),
        (20_000, 1, "at most 25000"),
        (500_000, 1, "each is shown once"),
    ],
)
def test_auto_follows_the_published_rule(examples: int, epochs: int, reason: str) -> None:
    found = resolve_epochs(examples)
    assert found.value == epochs
    assert reason in found.reason
    assert found.reason.startswith("auto: ")


@given(st.integers(1, 1_000_000))
def test_auto_agrees_with_the_rule_written_another_way(examples: int) -> None:
    wanted = 3
    if 3 * examples < 100:
        wanted = min(25, 100 // examples)
    if 3 * examples > 25_000:
        wanted = max(1, 25_000 // examples)
    assert resolve_epochs(examples).value == wanted


def test_a_number_that_is_asked_for_is_taken() -> None:
    assert resolve_epochs(10, 7).model_dump() == {"value": 7, "reason": "asked for"}


@pytest.mark.parametrize("wanted", [0, 51])
def test_a_number_beyond_openais_limits_is_refused(wanted: int) -> None:
    with pytest.raises(InvalidInput, match=f"n_epochs is {wanted}: it must be from 1 to 50"):
        resolve_epochs(10, wanted)
