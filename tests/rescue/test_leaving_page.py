"""Every command of `docs/how-to/leave-openai.md`, in its order, at a server that plays OpenAI."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from tests.made_tasks import GREETING, persona_answer, questions
from tests.rescue.proxied import eventually
from tests.rescue.stand_in import SMALL, StandIn, stand_in
from tests.wire.conftest import Server, _start
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.models.own_catalog import set_alias

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("remote")]
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "leave-openai.md").read_text("utf-8")
NAME = "ft:gpt-4o-mini-2024-07-18:acme:intents:AbCd1234"
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]
BASE = "gpt-4o-mini-2024-07-18"
TURNS = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Yes?"}]
"""Before the questions of the validation file, so that they are no training rows."""


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def trained(client: OpenAI) -> str:
    """Have the account tune a model, and return its name."""
    asked = questions()[0][:120]
    rows = [
        [{"role": "user", "content": each.text}, {"role": "assistant", "content": persona_answer(each.topic)}]
        for each in asked
    ]  # fmt: skip
    files = [
        client.files.create(file=(name, lines([{"messages": row} for row in part])), purpose="fine-tune").id
        for name, part in (("train.jsonl", rows), ("valid.jsonl", [[*TURNS, *row] for row in rows]))
    ]  # fmt: skip
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=files[0], validation_file=files[1], suffix="intents"
    )
    eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded", 60)
    return str(client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model)


@contextmanager
def serving(home: Path, flags: list[str], **settings: str) -> Iterator[Server]:
    process, server = _start(home, *flags, **settings)
    try:
        yield server
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


class Reader:
    """Somebody who has nothing but the page."""

    def __init__(self, openai: StandIn, home: Path, model: str) -> None:
        self.openai, self.home, self.model = openai, home, model
        self.printed: dict[str, str] = {}

    def follow(self, words: list[str], *status: int) -> Result:
        """Run a command of the page."""
        done = CliRunner().invoke(app, [self.model if word == NAME else word for word in words])
        assert done.exit_code in (status or (0,)), (words, done.output, done.exception)
        self.printed[" ".join(words[:2])] = done.output
        return done

    def ask(self, server: Server, at: int = 0) -> str:
        """Ask the old model at the reader's own server; return who answered."""
        text = questions()[0][at].text
        with OpenAI(base_url=server.base_url, api_key=server.key) as client:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model, messages=[{"role": "user", "content": text}]
            )
        said = str(raw.parse().choices[0].message.content)
        assert said.startswith(GREETING)
        return str(raw.headers.get("x-selftune-answered-by", "upstream"))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    for home in ("openai", "home"):
        (tmp_path / home).mkdir()
        set_alias(tmp_path / home, BASE, "selftune/fake")
    with stand_in(tmp_path / "openai", size=SMALL, trains=True) as openai:
        monkeypatch.setenv("OPENAI_BASE_URL", openai.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", openai.key)
        monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield Reader(openai, tmp_path / "home", trained(openai.client()))


def test_the_page_leads_from_the_account_to_the_replacement(reader: Reader) -> None:
    serves = [at for at, words in enumerate(COMMANDS) if words[0] == "serve"]
    assert len(serves) == 2
    before, during, last = COMMANDS[: serves[0]], COMMANDS[serves[0] + 1 : serves[1]], COMMANDS[-1]
    for words in before:
        reader.follow(words)
    assert "Switch: the replacement is not worse" in reader.printed["rescue prove"]
    assert reader.model in reader.printed["rescue inventory"]
    upstream = {"OPENAI_BASE_URL": reader.openai.base_url, "OPENAI_API_KEY": reader.openai.key}
    with serving(reader.home, COMMANDS[serves[0]][1:], **upstream) as server:
        assert reader.ask(server) == "upstream"
        for words in during:
            if words[:2] == ["rescue", "shadow"]:
                for at in range(4):
                    assert reader.ask(server, at) == "upstream"
                eventually(lambda: asked_in_the_shadow(reader) == 4)
            reader.follow(words)
        eventually(lambda: reader.ask(server) == "replacement")
    with serving(reader.home, last[1:]) as started:
        alone = replace(started, key=server.key)  # it prints a key once
        assert reader.ask(alone)
        with OpenAI(base_url=alone.base_url, api_key=alone.key) as client:
            theirs = reader.openai.client().fine_tuning.jobs.retrieve(reader.openai.account.jobs[0])
            ours = client.fine_tuning.jobs.retrieve(theirs.id)
            assert ours.model_dump() == theirs.model_dump()
            assert client.models.retrieve(reader.model).id == reader.model
    told = "".join(reader.printed.values())
    assert reader.openai.key not in told


def asked_in_the_shadow(reader: Reader) -> int:
    done = CliRunner().invoke(app, ["rescue", "shadow", reader.model, "--json"])
    return sum(int(each["asked"]) for each in json.loads(done.stdout))
