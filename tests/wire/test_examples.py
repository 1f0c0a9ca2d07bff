"""The example programs work as they are written."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.wire.conftest import Server

from selftune.core.settings import child_environment, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, environment: Mapping[str, str], folder: Path) -> list[str]:
    """Run an example in another folder; return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_first_finetune_needs_two_variables_and_the_official_client(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    code = (EXAMPLES / "01_first_finetune.py").read_text(encoding="utf-8")
    assert "selftune." not in code
    printed = run("01_first_finetune.py", start_server().environment, tmp_path)
    told = [line.strip() for line in printed]
    assert "Files validated, moving job to queued state" in told
    assert told.index("Fine-tuning job started") < told.index("The job has successfully completed")
    assert any(line.startswith("Step ") for line in told)
    right, _, rest = printed[-1].partition(" of 10 right by ")
    assert rest.startswith("ft:gpt-4o-mini-2024-07-18:selftune:intents:")
    assert int(right) >= 4  # by chance a quarter of one


def test_a_run_from_python_prints_where_its_report_is(tmp_path: Path) -> None:
    environment = child_environment(load_settings(home=tmp_path / "home"))
    printed = run("02_run_from_python.py", environment, tmp_path)
    assert "The job has successfully completed" in [line.strip() for line in printed]
    assert any("'tuned' is better than 'base'" in line for line in printed)
    report = Path(printed[-1].removeprefix("report: "))
    assert report.is_relative_to(tmp_path)
    assert "persona" in report.read_text(encoding="utf-8")


def test_data_are_prepared_from_python_without_a_server(tmp_path: Path) -> None:
    environment = child_environment(load_settings(home=tmp_path / "home"))
    printed = run("03_prepare_data.py", environment, tmp_path)
    assert "gpt-4o-mini: $2.10 for 3 epochs" in printed
    assert printed[-1] == "parts/test.jsonl: 80 rows"
    assert len((tmp_path / "parts" / "test.jsonl").read_text(encoding="utf-8").splitlines()) == 80
