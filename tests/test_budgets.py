"""Budgets that keep the code readable and `import selftune` quick."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "selftune").rglob("*.py"))
HEAVY = {"torch", "transformers", "onnx", "onnxruntime", "starlette", "alembic"}
HEAVY_FOR_THE_TERMINAL = {"sqlalchemy", "numpy", "openai", "jinja2", "fsspec", "rich.progress"}
HEAVY_FOR_THE_SERVER = {"torch", "transformers", "onnx", "onnxruntime"}


def loaded_after(statement: str, names: set[str]) -> str:
    code = f"import sys\n{statement}\nprint(*sorted({names!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_importing_the_package_loads_no_heavy_library() -> None:
    assert loaded_after("import selftune", HEAVY) == ""


@pytest.mark.parametrize("module", ["selftune.asgi", "selftune.api.app", "selftune.cli.main"])
def test_the_server_loads_no_training_library(module: str) -> None:
    assert loaded_after(f"import {module}", HEAVY_FOR_THE_SERVER) == ""


@pytest.mark.parametrize("module", ["main", "eval", "data"])
def test_the_terminal_starts_without_what_few_commands_need(module: str) -> None:
    assert loaded_after(f"import selftune.cli.{module}", HEAVY_FOR_THE_TERMINAL) == ""


def test_the_api_starts_without_what_few_requests_need() -> None:
    assert loaded_after("import selftune.asgi", {"numpy", "jinja2", "alembic", "fastapi"}) == ""


def test_the_serving_process_never_loads_torch() -> None:
    statement = "import selftune.serve.process, selftune.models.samplers.builtin"
    assert loaded_after(statement, {"torch"}) == ""
