"""The page about bringing evals: its program saves what the API has, and the import reads it."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from tests.wire.conftest import Server

from selftune.evaluate.interchange.promptfoo_assertions import ASSERTIONS

pytestmark = pytest.mark.xdist_group("server")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "bring-your-evals.md"
ITEMS = [("France", "Paris", "Paris"), ("Peru", "Lima", "Cusco")]


def test_what_the_program_saves_becomes_a_round(server: Server, tmp_path: Path) -> None:
    client = OpenAI(base_url=server.base_url, api_key=server.key)
    definition = client.evals.create(
        name="Capitals to keep",
        data_source_config={
            "type": "custom",
            "item_schema": {"type": "object", "properties": {"country": {"type": "string"}}},
            "include_sample_schema": True,
        },
        testing_criteria=[
            {
                "type": "string_check",
                "name": "right",
                "input": "{{ sample.output_text }}",
                "operation": "eq",
                "reference": "{{ item.capital }}",
            }
        ],
    )
    rows: Any = [
        {"item": {"country": country, "capital": right}, "sample": {"output_text": said}}
        for country, right, said in ITEMS
    ]
    run = client.evals.runs.create(
        definition.id,
        name="given",
        data_source={"type": "jsonl", "source": {"type": "file_content", "content": rows}},
    )
    deadline = time.monotonic() + 60
    while client.evals.runs.retrieve(run.id, eval_id=definition.id).status != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    [program] = re.findall(r"^```py\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=server.environment,
        check=True,
        timeout=60,
    )
    saved = tmp_path / "openai-evals.jsonl"
    found = json.loads(server.selftune("eval", "import", str(saved), "--json"))
    mine = [path for path in found["rounds"] if "capitals-to-keep" in path]
    assert len(mine) == 1
    results = (Path(mine[0]) / "results.jsonl").read_text("utf-8").splitlines()
    passed = [json.loads(line)["scores"][0]["passed"] for line in results]
    assert passed == [True, False]
    assert (tmp_path / "capitals-to-keep.toml").exists()


def test_the_page_names_every_assertion_that_comes_in() -> None:
    page = PAGE.read_text("utf-8")
    assert [kind for kind in ASSERTIONS if f"`{kind}`" not in page] == []
