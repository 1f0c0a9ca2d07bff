"""Sources that are broken: every line that cannot be read is named, with its remedy."""

from pathlib import Path
from typing import Any

import pytest
from tests.data.corpus.parts import lines
from tests.data.corpus.sources import SOURCES, UNWRITABLE, BrokenSource

from selftune.core.errors import BadRows
from selftune.data.convert import convert
from selftune.data.read import read_lines


@pytest.mark.parametrize("broken", SOURCES, ids=lambda broken: broken.name)
def test_a_broken_source_is_explained_line_by_line(broken: BrokenSource, tmp_path: Path) -> None:
    path = tmp_path / f"rows{broken.suffix}"
    path.write_bytes(broken.make())
    found = [line.problem for line in read_lines(path, broken.options) if line.problem is not None]
    assert {(one.rule, one.line) for one in found} == broken.expected
    assert all(one.remedy and one.file == str(path) for one in found)


@pytest.mark.parametrize(("name", "to", "row"), UNWRITABLE)
def test_a_row_that_a_format_cannot_hold_is_named(
    name: str, to: str, row: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines([row]))
    with pytest.raises(BadRows, match="nothing was written") as caught:
        convert(tmp_path / "rows.jsonl", tmp_path / "out.jsonl", to=to)
    assert [(one.rule, one.line) for one in caught.value.problems] == [("not-convertible", 1)]
    assert not (tmp_path / "out.jsonl").exists()
