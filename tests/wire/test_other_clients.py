"""Other official clients: Node, an older Python SDK with its command, and the SDK's own tests."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.wire.conftest import Server
from tests.wire.test_python_client import rows

from selftune.core.settings import child_environment, load_settings

pytestmark = [pytest.mark.xdist_group("server"), pytest.mark.slow]
ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".work"
SDK_FILES = (
    "test_files.py",
    "test_uploads.py",
    "test_models.py",
    "test_completions.py",
    "test_embeddings.py",
    "fine_tuning/test_jobs.py",
    "fine_tuning/jobs",
    "fine_tuning/checkpoints",
    "fine_tuning/alpha",
    "chat/test_completions.py",
    "chat/completions",
    "test_responses.py",
    "responses/test_input_items.py",
    "test_batches.py",
    "test_evals.py",
    "evals",
)
LEAST_SHARE = 0.98
EXEMPT = "test_responses.py and compact"  # nothing here makes the items that compacting is for


def needs(name: str) -> None:
    if not (INSTALLED / name / ".complete").exists():
        pytest.skip(f"{name} is not installed: run `make clients`")


def test_node_does_a_whole_fine_tune(server: Server, tmp_path: Path) -> None:
    needs("node")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    training = tmp_path / "train.jsonl"
    training.write_bytes(rows(12))
    run = subprocess.run(
        ["node", str(ROOT / "tests/wire/clients/flow.mjs"), str(training)],
        env=server.environment | {"SDK_FOLDER": str(INSTALLED / "node")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    said: dict[str, object] = {}
    for line in run.stdout.splitlines():
        said |= json.loads(line)
    assert said["status"] == "succeeded"
    assert said["error"] == [404, "fine_tune_not_found"]
    assert said["events"] is said["checkpoints"] is said["streamed"] is said["deleted"] is True
    assert said["embeddings"] == 2


def test_the_older_sdks_command_lists_and_creates(server: Server, tmp_path: Path) -> None:
    needs("openai-2.30")
    environment = server.environment | {"PYTHONPATH": str(INSTALLED / "openai-2.30")}
    training = tmp_path / "train.jsonl"
    training.write_bytes(rows(12))

    def command(*arguments: str) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "openai", "-b", server.base_url, "api", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    uploaded = json.loads(command("files.create", "-f", str(training), "-p", "fine-tune"))
    create = ("fine_tuning.jobs.create", "-m", "selftune/fake", "-F", uploaded["id"])
    job = json.loads(command(*create))
    assert job["status"] == "validating_files"
    assert job["id"] in command("fine_tuning.jobs.list")
    assert job["id"] in command("fine_tuning.jobs.retrieve", "-i", job["id"])
    assert "Created fine-tuning job" in command("fine_tuning.jobs.list_events", "-i", job["id"])


def test_the_sdks_own_tests_pass(start_server: Callable[..., Server]) -> None:
    needs("openai-3.52.0")
    server = start_server("--no-auth", SELFTUNE_PROFILE="spec", SELFTUNE_WORKERS="0")
    passed, failed = _sdk_counts(server)
    assert passed + failed > 1100
    assert passed / (passed + failed) >= LEAST_SHARE


def _sdk_counts(server: Server) -> tuple[int, int]:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", "."),
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=session"),
            *("-p", "no:cacheprovider", "-q", "--tb=line", "-k", f"not ({EXEMPT})"),
            *(f"tests/api_resources/{name}" for name in SDK_FILES),
        ],
        cwd=INSTALLED / "openai-3.52.0",
        env=child_environment(load_settings())
        | {
            "PYTHONPATH": str(INSTALLED / "sdk-tests-environment"),
            "TEST_API_BASE_URL": server.base_url,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", run.stdout)
    }
    failed = found.get("failed", 0) + found.get("error", 0)
    print(found, run.stdout[-4000:] if failed else "")  # noqa: T201 - shown when it fails
    return found.get("passed", 0), failed
