"""The example programs work as they are written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.wire.conftest import Server

from selftune.core.settings import child_environment, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(
    name: str, environment: Mapping[str, str], folder: Path, examples: Path = EXAMPLES
) -> list[str]:
    """Run an example in another folder; return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, str(examples / name)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def keep_what_is_asked(intents: Path) -> None:
    """Leave the rows of the ten intents that the program asks for; the demo trains on all forty."""
    asked = (intents / "test.jsonl").read_text(encoding="utf-8").splitlines()[::10]
    labels = {json.loads(line)["item"]["correct_label"] for line in asked}
    rows = (intents / "train.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if json.loads(row)["messages"][-1]["content"] in labels]
    kept = [row for number, row in enumerate(kept) if number % 5 < 3]  # enough to learn them by
    (intents / "train.jsonl").write_text("\n".join(kept), encoding="utf-8")


def test_the_first_finetune_needs_two_variables_and_the_official_client(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    code = (EXAMPLES / "01_first_finetune.py").read_text(encoding="utf-8")
    assert "selftune." not in code
    examples, name = tmp_path / "examples", "01_first_finetune.py"
    shutil.copytree(EXAMPLES / "intents", examples / "intents")
    shutil.copy(EXAMPLES / name, examples)
    keep_what_is_asked(examples / "intents")
    printed = run(name, start_server().environment, tmp_path, examples)
    told = [line.strip() for line in printed]
    assert "Files validated, moving job to queued state" in told
    assert told.index("Fine-tuning job started") < told.index("The job has successfully completed")
    assert any(line.startswith("Step ") for line in told)
    right, _, rest = printed[-1].partition(" of 10 right by ")
    assert rest.startswith("ft:gpt-4o-mini-2024-07-18:selftune:intents:")
    assert int(right) >= 5  # by chance one


def test_a_run_from_python_prints_where_its_report_is(tmp_path: Path) -> None:
    examples, name = tmp_path / "examples", "02_run_from_python.py"
    shutil.copytree(EXAMPLES / "persona", examples / "persona")
    shutil.copy(EXAMPLES / name, examples)
    file = examples / "persona" / "train.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8"))[::2]), encoding="utf-8")
    environment = child_environment(load_settings(home=tmp_path / "home"))
    printed = run(name, environment, tmp_path, examples)
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
