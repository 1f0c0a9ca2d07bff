"""Names of bases and what they mean."""

import pytest

from selftune.core.errors import InvalidInput
from selftune.models.catalog import catalog


def test_a_short_name_resolves_to_its_dated_snapshot() -> None:
    assert catalog().snapshot("gpt-4o-mini") == "gpt-4o-mini-2024-07-18"


def test_openai_names_mean_the_embedded_model_by_default() -> None:
    assert catalog().trainable("gpt-4.1-nano").id == "selftune/minilm"


def test_the_base_for_tests_is_listed_only_once_a_model_came_from_it() -> None:
    assert [base.id for base in catalog().listed(())] == ["selftune/minilm"]
    assert "selftune/fake" in {base.id for base in catalog().listed(["selftune/fake"])}
    assert catalog().trainable("selftune/fake").engine == "fake"


def test_every_alias_points_at_a_base() -> None:
    assert all(catalog().find(alias.id) for alias in catalog().alias)


@pytest.mark.parametrize("name", ["gpt-9", "text-embedding-3-small"])
def test_a_name_that_cannot_be_trained_is_refused_in_openais_words(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"Model {name} is not available for fine-tuning"):
        catalog().trainable(name)
