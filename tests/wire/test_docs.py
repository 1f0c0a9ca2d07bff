"""What the README and the docs show is run, and generated pages are current."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wire.conftest import Server
from tests.wire.test_python_client import rows

from selftune.models.endpoints import load_endpoints

pytestmark = pytest.mark.xdist_group("server")
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


STANDALONE = [page for page in PAGES if page.name != "tutorial.md"]
"""The tutorial's blocks are one program: test_tutorial.py runs it."""


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (page.name, found[1])
        for page in (STANDALONE if language == "python" else PAGES)
        for found in BLOCK.findall(page.read_text(encoding="utf-8"))
        if found[0] == language
    ]


@pytest.mark.parametrize(("page", "code"), blocks("python"), ids=lambda value: str(value)[:20])
def test_a_python_block_runs(server: Server, tmp_path: Path, page: str, code: str) -> None:
    (tmp_path / "train.jsonl").write_bytes(rows(12))
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, f"{page}: {run.stderr}"
    assert "validating_files" in run.stdout


def test_the_program_about_stored_answers_prints_what_was_stored(server: Server) -> None:
    page = ROOT / "docs" / "how-to" / "point-your-code.md"
    [program] = [code for name, code in blocks("py") if name == page.name]
    command = [sys.executable, "-c", program]
    run = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, timeout=60
    )
    if "The model failed" in run.stderr:
        pytest.skip("the embedded model is not installed here")
    assert run.stdout.splitlines() == ["True", "['user', 'assistant', 'user']"], run.stderr


def test_the_endpoints_of_the_docs_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "point-your-code.md").read_text(encoding="utf-8")
    [text] = [code for language, code in BLOCK.findall(page) if language == "toml"]
    (tmp_path / "endpoints.toml").write_text(text, encoding="utf-8")
    found = load_endpoints(tmp_path)
    places = [found.find(name) for name in ("gpt-4.1-mini", "qwen3-8b", "gpt-4o")]
    assert [place and place.concurrency for place in places] == [None, 16, None]
    assert places[0] is not None
    assert places[2] is None


def test_every_make_target_that_is_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = {name for _, code in blocks("sh") for name in re.findall(r"^make (\S+)", code, re.M)}
    assert shown >= {"demo", "test"}
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_generated_pages_are_current() -> None:
    generator = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for name, page in generator["PAGES"].items():
        written = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert written == page(), f"{name}: run `make docs`"


def test_the_price_error_in_the_docs_is_a_committed_result() -> None:
    results = ROOT / "benchmarks" / "results"
    page = (ROOT / "docs" / "embedded-model.md").read_text(encoding="utf-8")
    prices = re.search(r"mean absolute error \$([\d.]+)", page)
    assert prices is not None
    text = (results / "quality_prices.json").read_text(encoding="utf-8")
    assert prices[1] in {f"{float(value):.1f}" for value in re.findall(r"\d+\.\d+", text)}
