"""The tutorial, block after block, as a reader would run it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.wire.conftest import Server
from tests.wire.test_docs import BLOCK, ROOT
from tests.wire.test_examples import keep_what_is_asked

from selftune.core.settings import child_environment, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]
BLOCKS = BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))


def blocks(language: str) -> list[str]:
    return [code for found, code in BLOCKS if found == language]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial") / "home"


@pytest.fixture(scope="module")
def demo(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the shell blocks in an environment that is made already; return what they printed.

    The demo trains on a quarter of its rows here; CI runs it as it is too.
    """
    intents = tmp_path_factory.mktemp("examples") / "intents"
    shutil.copytree(ROOT / "examples" / "intents", intents)
    keep_what_is_asked(intents)
    kept = {row["messages"][-1]["content"] for row in rows_of(intents / "train.jsonl")}
    tests = [row for row in rows_of(intents / "test.jsonl") if row["item"]["correct_label"] in kept]
    (intents / "test.jsonl").write_text("\n".join(map(json.dumps, tests)), encoding="utf-8")
    made = ["-o", ".venv/.runtime", f"BIN={Path(sys.executable).parent}"]
    made.append(f"RUN={intents / 'run.toml'}")
    printed = ""
    for line in "".join(blocks("sh")).splitlines():
        program, *arguments = line.split()
        assert program == "make"
        run = subprocess.run(
            [program, *made, *arguments],
            cwd=ROOT,
            env=child_environment(load_settings(home=home)),
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        printed += run.stdout
    return printed


def test_the_demo_compares_and_names_report_and_model(demo: str, home: Path) -> None:
    assert "'tuned' is better than 'base'" in demo
    (report,) = [line.split()[1] for line in demo.splitlines() if line.startswith("report ")]
    assert Path(report).is_relative_to(home)
    assert "ft:gpt-4o-mini-2024-07-18:selftune:intents:" in demo


def test_the_python_blocks_train_and_chat(
    demo: str, home: Path, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(SELFTUNE_HOME=str(home))
    run = subprocess.run(
        [sys.executable, "-c", "".join(blocks("python"))],
        cwd=tmp_path,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    models, created, *told = run.stdout.splitlines()
    assert "ft:gpt-4o-mini-2024-07-18:selftune:intents:" in models
    assert created.endswith("validating_files")
    end = told.index("The job has successfully completed")
    shown = [line.rstrip("…") for block in blocks("text")[3:] for line in block.splitlines()]
    assert [line.startswith(text) for line, text in zip(told[end - 1 :], shown, strict=False)] == (
        [True] * len(shown)
    )
    shares = [line.partition(": ") for line in told[end + 2 :]]
    assert {label for label, _, _ in shares} == {"shipping", "billing", "account"}
    assert sum(float(share) for _, _, share in shares) == pytest.approx(1, abs=0.02)
