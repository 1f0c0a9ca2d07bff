"""Everything that is looked for in texts, together, and on the data of the five workloads."""

from pathlib import Path
from typing import Any

import pytest
from tests.data.made_up import PERSONAL, SECRETS

from selftune.data.findings.content import find_content
from selftune.data.read import read_lines

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def texts_in(value: Any) -> list[str]:
    """Return every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in inner for text in texts_in(child)]


def test_findings_come_in_the_order_of_texts() -> None:
    texts = [*SECRETS.values(), "Fine.", *PERSONAL.values(), "It\\u2019s fine", "Hello\0"]
    found = find_content(texts)
    assert found == sorted(found)
    assert {one.text_index for one in found} == set(range(len(texts))) - {len(SECRETS)}


def test_many_texts_at_once_have_the_findings_of_each_alone() -> None:
    texts = [*SECRETS.values(), *PERSONAL.values(), "schÃ¶n", "Tom &amp; Jerry", "", "é" * 1000]
    together = find_content(texts * 40)
    alone = [
        one._replace(text_index=one.text_index + at)
        for at, text in enumerate(texts * 40)
        for one in find_content([text])
    ]
    assert together == alone


@pytest.mark.skipif(not SHARED.is_dir(), reason="the workloads' data is not beside the project")
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("policy/train.jsonl", 0),
        ("policy/test.jsonl", 0),
        ("hospitality/train.jsonl", 0),
        ("hospitality/test.jsonl", 0),
        ("banking77/train.csv", 0),
        ("banking77/test.csv", 0),
        (
            "prices/items.jsonl",
            4,
        ),  # a control character, U+FFFD, mojibake, an HTML entity: all real
    ],
)
def test_real_data_has_no_false_findings(name: str, most: int) -> None:
    texts = [text for line in read_lines(SHARED / name) for text in texts_in(line.row)]
    assert len(texts) > 30
    found = find_content(texts)
    assert len(found) == most
    assert {one.rule for one in found} <= {"encoding-damage", "control-character"}
