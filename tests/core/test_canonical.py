"""Equal values have equal text."""

import pytest

from selftune.core.canonical import canonical_json, fingerprint


def test_the_order_of_keys_does_not_matter() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})


def test_text_is_kept_as_it_is() -> None:
    assert canonical_json({"é": "😀"}) == '{"é":"😀"}'


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
