"""The program of the page on the Evals API prints what it should."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.wire.conftest import Server
from tests.wire.model_stub import playing

pytestmark = pytest.mark.xdist_group("server")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "evals-api.md"
HOSTED = "https://api.openai.com/v1"
LABELS = {"parcel": "shipping", "charged": "billing", "crashes": "bug"}


def hosted(body: dict[str, Any]) -> str:
    asked = str(body["messages"][-1]["content"])
    if "response_format" in body:
        ticket, _, label = asked.partition("\n\n")
        return json.dumps({"steps": [], "result": 5 if LABELS[word_of(ticket)] == label else 2})
    return LABELS[word_of(asked)] if body["model"] == "gpt-4.1-mini" else "bug"


def word_of(ticket: str) -> str:
    return next(word for word in LABELS if word in ticket)


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_program_of_the_page_compares_two_models(start_server: Callable[..., Server]) -> None:
    with playing(hosted) as stub:
        server = start_server()
        [endpoints] = blocks("toml")
        assert HOSTED in endpoints
        named = endpoints.replace(HOSTED, stub.url)
        (server.home / "endpoints.toml").write_text(named, encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-c", "\n".join(blocks("py"))],
            env=server.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "right label-",
        "gpt-4.1-mini completed 3 of 3",
        "gpt-4.1-nano completed 1 of 3",
        "  failed: Where is my parcel? -> bug",
        "  failed: I was charged twice. -> bug",
    ]
