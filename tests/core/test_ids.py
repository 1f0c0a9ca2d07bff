"""Ids in OpenAI's spelling."""

import re

from selftune.core.ids import IdSource, api_key


def test_an_id_is_its_prefix_and_base_62_characters() -> None:
    assert re.fullmatch(r"ftjob-[A-Za-z0-9]{24}", IdSource().new("ftjob-"))


def test_a_seed_makes_ids_repeat() -> None:
    assert [IdSource(7).new("file-") for _ in range(2)] == [IdSource(7).new("file-")] * 2


def test_without_a_seed_ids_differ() -> None:
    source = IdSource()
    assert len({source.new("file-") for _ in range(1000)}) == 1000


def test_a_key_is_long_and_never_repeats() -> None:
    assert re.fullmatch(r"sk-selftune-[A-Za-z0-9]{48}", api_key())
    assert api_key() != api_key()
