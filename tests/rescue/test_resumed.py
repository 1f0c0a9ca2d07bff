"""A proof that is ended in the middle goes on: nothing is paid for twice, no model works twice."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import Scripted, said
from tests.made_tasks import label_rows, questions, write_rows
from tests.wire.model_stub import ModelStub, name_models, playing
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.core.errors import Unavailable
from selftune.core.settings import Settings, child_environment, load_settings
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.verdict import Policy
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.rescue.proof.plan import Choices
from selftune.rescue.proof.run import prove
from selftune.rescue.record.asking import Purse, RecordingHome
from selftune.rescue.record.prompts import prompts_of_file
from selftune.rescue.record.run import Wanted, record

MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support:AbCd1234"
COUNT = 12
TOPICS = {each.text: each.topic for part in questions() for each in part}
JUDGED = json.dumps({"explanation": "fine", "score": 4})
PROVE = ("prove", MODEL, "--replacement", "new", "--no-base", "--judge", "judge", "--json")


class Changing:
    """Models that never answer twice alike."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, body: dict[str, Any]) -> str:
        if body["model"] == "judge":
            return JUDGED
        return f"{TOPICS[body['messages'][-1]['content']]} {next(self._numbers)}"


def environment(home: Path, stub: ModelStub) -> dict[str, str]:
    return {"SELFTUNE_HOME": str(home), "OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "k"}


def killed(home: Path, stub: ModelStub, is_time: Callable[[], bool]) -> None:
    """Start the proof in a process of its own, and end it in the middle."""
    told = child_environment(load_settings(home=home)) | environment(home, stub)
    words = [sys.executable, "-m", "selftune", "rescue", *PROVE, "--concurrency", "2"]
    quiet = subprocess.DEVNULL
    started = subprocess.Popen(words, env=told, stdout=quiet, stderr=quiet)
    until = time.monotonic() + 60
    while not is_time() and started.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    assert started.poll() is None
    os.kill(started.pid, signal.SIGKILL)
    started.wait()


def test_a_proof_that_is_killed_while_it_asks_and_while_it_judges_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:COUNT]))
    monkeypatch.setattr("selftune.prove.home.Home.embed", lambda self, texts: [[1.0]] * len(texts))
    with playing(Changing()) as stub:
        name_models(tmp_path, stub, "new", "judge")

        def asked(model: str) -> int:
            return sum(body["model"] == model for body in list(stub.bodies))

        words = ("record", MODEL, "--prompts", str(prompts), "--temperature", "1", "--repeats", "2")
        CliRunner().invoke(app, ["rescue", *words], env=environment(tmp_path, stub))
        stub.seconds = 0.02
        killed(tmp_path, stub, lambda: asked("new") >= 8)
        assert asked("judge") == 0
        killed(tmp_path, stub, lambda: asked("judge") >= 8)
        stub.seconds = 0.0
        done = CliRunner().invoke(app, ["rescue", *PROVE], env=environment(tmp_path, stub))
        found = json.loads(done.stdout)
        # Those on their way were asked again.
        assert 2 * COUNT <= asked("new") <= 2 * COUNT + 2
        assert 2 * COUNT <= asked("judge") <= 2 * COUNT + 2
    assert [each["judged"]["value"] for each in found["alike"]] == [1.0, 1.0]


def test_a_model_of_this_machine_does_not_answer_all_again_for_a_judge_that_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    rule, judged = Changing(), itertools.count()

    def answer(question: Question) -> Answer:
        model = str(question.body["model"])
        if model == "judge" and next(judged) == COUNT:
            raise Unavailable("The judge is down.")
        asked.append(model)
        return said(question, rule(question.body))

    endpoint = Scripted(answer)
    home = "selftune.prove.home.Home."
    monkeypatch.setattr(f"{home}open", lambda self, model, place, limits: endpoint.open("", None))
    monkeypatch.setattr(f"{home}embed", lambda self, texts: [[1.0]] * len(texts))
    monkeypatch.setattr(f"{home}find", lambda self, model: None)
    monkeypatch.setattr(
        f"{home}place", lambda self, model: Endpoint(model=model) if model == "judge" else None
    )
    settings = Settings(home=tmp_path)
    prompts = prompts_of_file(
        write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:COUNT]))
    ).prompts
    wanted = Wanted(Endpoint(model=MODEL, base_url="http://127.0.0.1:1/v1"), 1.0, 2)
    record(RecordingHome(settings, Purse()), MODEL, prompts, wanted, Limits())
    choices = Choices(replacement="new", with_base=False, judge="judge")
    with pytest.raises(Unavailable):
        prove(settings, MODEL, choices, Policy(margin=0.05))
    found = prove(settings, MODEL, choices, Policy(margin=0.05)).proof
    assert asked.count("new") == asked.count("judge") == 2 * COUNT
    assert [each.judged.value for each in found.alike if each.judged] == [1.0, 1.0]
