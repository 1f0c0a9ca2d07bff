"""An eval that was made here asks models where the same questions to the server are answered."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.models.sockets import serving
from tests.rescue.beside import Served, error_of, play
from tests.rescue.proxied import FAKE, KEY, MODEL, OK

from selftune.jobs.queue import claim
from selftune.models.own_catalog import set_replacement
from selftune.models.switches import Switch, add_switch
from selftune.store.owners import this_process
from selftune.worker import run_child

SAYS: Any = {
    "type": "string_check",
    "name": "from there",
    "input": "{{ sample.output_text }}",
    "operation": "eq",
    "reference": "from upstream",
}
SCHEMA: Any = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}


def asking(model: str) -> Any:
    """Return the data of a run that asks a model one question."""
    content = [{"item": {"question": "Where are you?"}}]
    chat = [{"role": "user", "content": "{{ item.question }}"}]
    return {
        "type": "completions",
        "model": model,
        "source": {"type": "file_content", "content": content},
        "input_messages": {"type": "template", "template": chat},
    }


async def passed(here: Served, eval_id: str, model: str) -> int:
    """Run an eval on a model as a worker does; return how many answers came from upstream."""
    run = await here.client.evals.runs.create(eval_id, data_source=asking(model))
    claimed = claim(here.store, this_process(), only=run.id)
    assert claimed is not None
    await asyncio.to_thread(run_child, here.store, run.id, claimed[1].token)
    done = await here.client.evals.runs.retrieve(run.id, eval_id=eval_id)
    assert done.status == "completed", done.error
    assert done.result_counts.errored == 0
    return done.result_counts.passed


def test_a_run_asks_the_account_for_its_models_until_a_switch_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK)
        return True

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("UPSTREAM_KEY", KEY)

    async def scene(here: Served) -> None:
        made = await here.client.evals.create(data_source_config=SCHEMA, testing_criteria=[SAYS])
        assert await passed(here, made.id, MODEL) == 1
        assert await passed(here, made.id, "gpt-4o-mini") == 1  # no base of this home by choice
        assert await passed(here, made.id, FAKE) == 0
        said: Any = {"role": "user", "content": "{{ sample.output_text }}"}
        judge: Any = {"type": "score_model", "name": "judge", "model": MODEL, "input": [said]}
        graders = here.client.fine_tuning.alpha.graders
        graded = await graders.run(grader=judge, model_sample="hello", item={})
        errors = graded.metadata.errors.to_dict()
        assert errors["model_grader_parse_error"]  # it was asked, and says no number
        set_replacement(home, MODEL, FAKE)
        assert await passed(here, made.id, MODEL) == 1
        add_switch(home, Switch(model=MODEL, to="replacement", switched_at=1))
        assert await passed(here, made.id, MODEL) == 0
        (home / "switches.json").write_text("{", encoding="utf-8")
        refused = await error_of(here.client.evals.runs.create(made.id, data_source=asking(MODEL)))
        assert "the home folder/switches.json" in str(refused)
        assert str(tmp_path) not in str(refused)

    with serving(script) as there:
        told = f'[profile.up]\nbase_url = "{there.url}"\napi_key_variable = "UPSTREAM_KEY"\n'
        (home / "profiles.toml").write_text(told, encoding="utf-8")
        play(scene, None, home, upstream="up")
        assert all(f"authorization: Bearer {KEY}".encode() in each for each in there.requests)
        assert len(there.requests) == 4


def test_without_an_account_upstream_a_run_asks_nobody_else(tmp_path: Path) -> None:
    async def scene(here: Served) -> None:
        made = await here.client.evals.create(data_source_config=SCHEMA, testing_criteria=[SAYS])
        asked = here.client.evals.runs.create(made.id, data_source=asking(MODEL))
        refused = await error_of(asked)
        assert isinstance(refused, openai.BadRequestError)
        assert "Name its endpoint in endpoints.toml" in refused.message

    play(scene, None, tmp_path / "home")
