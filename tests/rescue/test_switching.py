"""The commands that switch a model and look at it, as a user types them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import NotFound


def said(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["rescue", *words], env={"SELFTUNE_HOME": str(home)})


def test_the_way_back_has_all_that_was_said_of_the_switch_before(tmp_path: Path) -> None:
    wanted = ["--replacement", "selftune/fake", "--no-fallback", "--timeout", "5"]
    first = said(tmp_path, "switch", "ft:a:b::c", "--to", "canary=10", *wanted)
    assert "back with: selftune rescue switch ft:a:b::c --to upstream" in first.stdout
    second = said(tmp_path, "switch", "ft:a:b::c", "--to", "upstream")
    assert f"switch ft:a:b::c --to canary=10 {' '.join(wanted)}\n" in second.stdout
    assert "back" not in said(tmp_path, "switch", "ft:a:b::c", "--to", "upstream").stdout


def test_a_model_that_nobody_switched_is_not_looked_at(tmp_path: Path) -> None:
    words = ["switch", "ft:a:b::c", "--to", "shadow=50", "--replacement", "selftune/fake"]
    assert said(tmp_path, *words).exit_code == 0
    assert said(tmp_path, "shadow", "ft:a:b::c").exit_code == 0
    with pytest.raises(NotFound, match=r"Did you mean 'ft:a:b::c'\?"):
        raise said(tmp_path, "shadow", "ft:a:b::d").exception or AssertionError
