"""A recording: what is asked, what is kept, what it may cost, and that nothing is paid for twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.made_tasks import label_rows, questions, write_rows
from tests.rescue.archives import bring
from tests.rescue.beside import entry, made_archive
from tests.rescue.stand_in import SMALL, StandIn, stand_in
from tests.wire.model_stub import ModelStub, name_models, playing
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import InvalidInput
from selftune.core.settings import child_environment, load_settings
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.prompts import (
    prompts_of_archive,
    prompts_of_file,
    prompts_of_home,
    shown_temperature,
)
from selftune.rescue.record.recordings import Recording, answers_of, find_recording
from selftune.rescue.record.trained import training_files, without_trained
from selftune.store.accounts import default_identity

MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support:AbCd1234"
SECRETS = {"OPENAI_API_KEY": "sk-test"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("openai"), size=SMALL) as openai:
        yield openai


@pytest.fixture(scope="module")
def archive(account: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives") / "acme"
    bring(account, folder)
    return folder


def command(home: Path, *words: str, url: str) -> Result:
    environment = {"SELFTUNE_HOME": str(home), "OPENAI_BASE_URL": url, **SECRETS}
    return CliRunner().invoke(app, ["rescue", "record", *words], env=environment)


def topic_of(body: dict[str, Any]) -> str:
    known = {each.text: each.topic for part in questions() for each in part}
    return known[str(body["messages"][-1]["content"])]


def told(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def texts(found: Recording) -> dict[str, Sequence[str]]:
    assert found.steady is not None
    return {
        item: [each.output for each in (*answers_of(found.steady)[item], *usual)]
        for item, usual in answers_of(found.usual).items()
    }


def test_models_of_an_account_are_recorded_from_what_its_archive_shows(
    account: StandIn, archive: Path, tmp_path: Path
) -> None:
    models = account.account.models
    key = account.environment | {"SELFTUNE_HOME": str(tmp_path)}
    words = ["rescue", "record", "--all", "--archive", str(archive), "--repeats", "2", "--json"]
    done = CliRunner().invoke(app, words, env=key)
    first, second = told(done)
    assert [first["model"], second["model"]] == list(models)
    assert first["temperature"] == 0.7
    assert first["prompts"] >= 40
    assert first["unanswered"] == 0
    assert "its training file is not here" in done.stderr  # of the second one, which was deleted
    kept = texts(find_recording(tmp_path, models[0]))
    assert len(kept) == first["prompts"]
    assert all(len(said) == 3 for said in kept.values())
    assert any("fernhill.example/" in said[0] for said in kept.values())
    before = account.app.asked.copy()
    again = CliRunner().invoke(app, words, env=key)
    assert told(again) == [first, second]
    assert account.app.asked == before


def test_an_archive_shows_prompts_of_all_its_kinds(account: StandIn, archive: Path) -> None:
    found = prompts_of_archive(Archive.open(archive), account.account.models[:1])
    assert {each.source for each in found.prompts} == {"validation file", "stored completion"}
    assert shown_temperature(found.prompts) is not None
    of_eval = [each for each in found.prompts if set(each.fields) >= {"question", "answer"}]
    assert of_eval  # they ask what the validation file asks: what the eval knows is added
    assert all(each.reference and each.temperature == 0.7 for each in of_eval)
    other = prompts_of_archive(Archive.open(archive), ["ft:gpt-4o:acme::none"])
    assert other.prompts == ()
    evals = account.account.evals
    named = prompts_of_archive(Archive.open(archive), ["ft:gpt-4o:acme::none"], evals[:1])
    assert {each.source for each in named.prompts} == {"eval"}
    assert named.prompts[0].messages[-1]["role"] == "user"


def test_rows_of_many_shapes_are_prompts(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a", "id": "x-0", "name": None}]
    rows: list[dict[str, Any]] = [
        {"messages": [*chat, {"role": "assistant", "content": "b"}], "topic": "t"},
        {"custom_id": "r", "body": {"messages": [{"role": "user", "content": "c"}]}},
        {"request": {"messages": [{"role": "user", "content": "d"}], "temperature": 0.3}},
        {"input": {"messages": [{"role": "user", "content": "e"}]}, "preferred_output": [{"role": "assistant", "content": "f"}]},
        {"sample": {"input": [{"role": "user", "content": "g"}]}, "datasource_item": {"h": 1}},
        {"messages": [{"role": "user", "content": "i"}], "tools": [{"type": "function"}]},
        {"question": "no messages"},
        {"messages": [*chat]},
    ]  # fmt: skip
    found = prompts_of_file(write_rows(tmp_path / "rows.jsonl", rows))
    assert [each.messages[-1]["content"] for each in found.prompts] == [*"acdegi"]
    assert [each.reference for each in found.prompts] == ["b", "", "", "f", "", ""]
    assert found.prompts[0].fields == {"topic": "t"}
    assert found.prompts[0].messages == ({"role": "user", "content": "a"},)
    assert found.prompts[2].temperature == 0.3
    assert found.prompts[5].request == {"tools": [{"type": "function"}]}
    assert sum(found.left_out.values()) == 1


def test_the_shape_that_production_asks_for_is_asked_for(tmp_path: Path) -> None:
    asked, usual = questions()[1][:6], {"type": "json_object"}
    bodies = [{"messages": [{"role": "user", "content": each.text}]} for each in asked]
    shapes = [usual, usual, usual, {"type": "text"}, {"type": "json_schema"}, usual]
    logs = [
        {"body": {**body, "response_format": s}} for body, s in zip(bodies, shapes, strict=True)
    ]
    file = write_rows(tmp_path / "logs.jsonl", logs)
    words = (MODEL, "--prompts", str(file), "--temperature", "0", "--json")
    with playing(lambda body: "{}") as stub:
        [one] = told(command(tmp_path / "home", *words, url=stub.url))
        assert one["prompts"] == 6
    wanted = {
        each.text: None if shape == {"type": "text"} else shape
        for each, shape in zip(asked, shapes, strict=True)
    }
    told_ = {body["messages"][0]["content"]: body.get("response_format") for body in stub.bodies}
    assert told_ == wanted


def test_training_rows_alone_are_refused_and_among_others_left_out(tmp_path: Path) -> None:
    trained, others = questions()
    training = write_rows(tmp_path / "training.jsonl", label_rows(trained[:20]))
    mixed = write_rows(tmp_path / "mixed.jsonl", label_rows([*trained[:5], *others[:6]]))
    words = (MODEL, "--training", str(training), "--temperature", "1", "--repeats", "1", "--json")
    with playing(topic_of) as stub:
        alone = command(tmp_path / "home", *words, "--prompts", str(training), url=stub.url)
        assert alone.exit_code != 0
        assert "learnt by heart" in str(alone.exception)
        assert not stub.asked
        [one] = told(command(tmp_path / "home", *words, "--prompts", str(mixed), url=stub.url))
    assert one["prompts"] == 6


def test_each_answer_of_a_training_chat_is_trained_on_whatever_shape_it_has(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://fernhill.example/1.png"}}
    other = {"type": "image_url", "image_url": {"url": "https://fernhill.example/2.png"}}
    words = {"type": "text", "text": "What is it?"}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    rows: list[dict[str, Any]] = [
        {"messages": turns},
        {"messages": [{"role": "user", "content": [words, picture]}, turns[1]]},
        {"prompt": "e", "completion": "f"},
        {"messages": ["no message"]},
    ]
    training = write_rows(tmp_path / "training.jsonl", rows)
    system = {"role": "system", "content": "Be brief."}
    asked: list[list[dict[str, Any]]] = [
        turns[:1],
        [system, *turns[:3]],
        [{"role": "user", "content": "e "}],
        [{"role": "user", "content": [picture, words]}],
        turns[2:3],
        [{"role": "user", "content": [words, other]}],
    ]
    file = write_rows(tmp_path / "prompts.jsonl", [{"messages": each} for each in asked])
    left, others = without_trained(prompts_of_file(file).prompts, [training], MODEL)
    assert [list(each.messages) for each in left] == asked[4:]
    assert others == 4


def test_a_model_that_was_tuned_twice_was_trained_on_both_files(tmp_path: Path) -> None:
    first, second = "ft:gpt-4o:acme:a:1", "ft:gpt-4o:acme:b:2"
    jobs = [
        entry("job", "ftjob-1", fine_tuned_model=first, model="gpt-4o", training_file="file-1"),
        entry("job", "ftjob-2", fine_tuned_model=second, model=first, training_file="file-2"),
    ]
    path = tmp_path / "blobs" / "00" / ("0" * 64)
    path.parent.mkdir(parents=True)
    path.touch()
    kept = entry("file", "file-1").model_copy(update={"blob": path.name})
    archive = made_archive(tmp_path, *jobs, kept)
    assert training_files(archive, second) == (None, path)
    assert training_files(archive, "ft:gpt-4o:acme:c:3") == (None,)


def test_logprobs_are_kept_and_done_without_where_a_model_refuses_them(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:8]))
    words = (MODEL, "--prompts", str(rows), "--temperature", "1", "--repeats", "1", "--json")
    with playing(topic_of) as stub:
        plain, refused = stub.answer, "You are not allowed to request logprobs from this model."
        refusals = []

        def refusing(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if body.get("logprobs"):
                refusals.append(body)
                return 403, {"error": {"message": refused, "type": "t", "code": None}}
            return plain(body)

        stub.answer = refusing  # type: ignore[method-assign]  # the stub's own word for a test
        [one] = told(command(tmp_path / "a", *words, "--concurrency", "1", url=stub.url))
        assert (one["with_logprobs"], len(refusals)) == (0, 1)

        def giving(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            status, answer = plain(body)
            token = {"token": "x", "logprob": -0.5, "bytes": None, "top_logprobs": []}
            answer["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
            return status, answer

        stub.answer = giving  # type: ignore[method-assign]  # as above
        [one] = told(command(tmp_path / "b", *words, url=stub.url))
    assert one["with_logprobs"] == 8
    steady = find_recording(tmp_path / "b", MODEL).steady
    assert steady is not None
    first = next(iter(answers_of(steady).values()))[0]
    assert first.logprobs is not None
    assert first.logprobs["content"][0]["logprob"] == -0.5
    assert first.usage is not None
    assert first.timing is not None


def test_a_model_that_thinks_is_asked_in_words_that_it_takes(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:3]))
    words = (MODEL, "--prompts", str(rows), "--temperature", "1", "--max-tokens", "9", "--json")
    with playing(topic_of) as stub:
        plain, never = stub.answer, ["temperature", "max_tokens", "logprobs"]

        def refusing(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            word = next((each for each in never if each in body), None)
            message = f"Unsupported parameter: '{word}' is not supported with this model."
            return plain(body) if word is None else (400, {"error": {"message": message}})

        stub.answer = refusing  # type: ignore[method-assign]  # the stub's own word for a test
        done = command(tmp_path / "a", *words, url=stub.url)
        [one] = told(done)
        never.append("messages")
        nothing = command(tmp_path / "b", *words, url=stub.url)
    assert one["unanswered"] == 0
    assert "takes no temperature" in done.stderr
    assert {"model", "messages", "max_completion_tokens"} == {*stub.bodies[11]}
    assert (nothing.exit_code, nothing.stdout.strip()) == (3, "[]")
    assert "answers none of the prompts: " in nothing.stderr


def test_a_budget_stops_a_recording_and_the_same_command_goes_on(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:10]))
    words = (MODEL, "--prompts", str(rows), "--temperature", "0.7", "--repeats", "2", "--json")
    budgets: tuple[tuple[str, ...], ...] = (
        ("--budget-requests", "7"),
        ("--budget-requests", "7"),
        ("--budget-dollars", "1"),
    )
    with playing(topic_of) as stub:
        ends = [command(tmp_path / "home", *words, *each, url=stub.url) for each in budgets]
        assert [each.exit_code for each in ends] == [3, 3, 0]
        assert "budget of requests is spent" in ends[0].stderr
        assert sum(stub.asked.values()) == 30
    [one] = json.loads(ends[-1].stdout)
    assert one["unanswered"] == 0
    assert 0 < one["dollars"] < 0.01


def test_a_recording_that_is_killed_loses_no_answer(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:30]))
    words = ["rescue", "record", MODEL, "--prompts", str(rows), "--temperature", "0", "--repeats"]
    with playing(topic_of, seconds=0.02) as stub:
        started = start(tmp_path / "home", [*words, "2", "--concurrency", "2"], stub)
        while sum(stub.asked.values()) < 20:
            time.sleep(0.01)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        done = command(tmp_path / "home", *words[2:], "2", "--json", url=stub.url)
        [one] = told(done)
        assert one["unanswered"] == 0
        assert 90 <= sum(stub.asked.values()) <= 92  # those on their way were asked again
    assert len(texts(find_recording(tmp_path / "home", MODEL))) == 30


def start(home: Path, words: list[str], stub: ModelStub) -> "subprocess.Popen[bytes]":
    environment = child_environment(load_settings(home=home)) | {
        "OPENAI_BASE_URL": stub.url,
        **SECRETS,
    }
    program = [sys.executable, "-m", "selftune", *words]
    return subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)


def test_what_passed_through_this_server_can_be_asked(account: StandIn) -> None:
    home, caller = account.store, default_identity(account.store)
    found = prompts_of_home(home, caller, account.account.models[:1])
    assert len(found.prompts) == SMALL.completions
    assert shown_temperature(found.prompts) == (0.7, SMALL.completions)
    assert prompts_of_home(home, caller, ["another"]).prompts == ()


def test_a_model_that_is_gone_does_not_keep_the_others_from_being_recorded(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:3]))

    def rule(body: dict[str, Any]) -> str | int:
        return 404 if "gone" in body["model"] else topic_of(body)

    with playing(rule) as stub:
        words = ("ft:gpt-4o:acme:gone[/]:a", MODEL, "--prompts", str(rows), "--temperature", "1")
        done = command(tmp_path / "home", *words, "--json", url=stub.url)
    assert done.exit_code == 3
    assert [each["model"] for each in json.loads(done.stdout)] == [MODEL]
    assert "gone[/]:a is not recorded" in done.stderr


def test_a_folder_of_another_tool_is_refused_in_words(tmp_path: Path) -> None:
    done = command(
        tmp_path / "home", MODEL, "--prompts", str(tmp_path), url="http://127.0.0.1:9/v1"
    )
    assert "tunekeep" in str(done.exception)


def test_the_key_is_in_nothing_that_is_kept(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", label_rows(questions()[1][:3]))
    with playing(topic_of) as stub:
        words = (MODEL, "--prompts", str(rows), "--temperature", "1", "--json")
        told(command(tmp_path / "home", *words, url=stub.url))
    kept = [path.read_text("utf-8") for path in (tmp_path / "home").rglob("*.json*")]
    assert kept
    assert not any(SECRETS["OPENAI_API_KEY"] in text for text in kept)


def test_a_deployment_is_asked_under_its_own_name_and_kept_under_the_model_s(
    tmp_path: Path,
) -> None:
    asked = [{"role": "user", "content": each.text} for each in questions()[1][:3]]
    bodies = [
        {"model": name, "messages": [each]}
        for name, each in zip(("mini", "mini", MODEL), asked, strict=True)
    ]
    lines = "".join(json.dumps({"body": body}) + "\n" for body in bodies).encode()
    blob = sha256(lines).hexdigest()
    path = tmp_path / "acme" / "blobs" / blob[:2] / blob
    path.parent.mkdir(parents=True)
    path.write_bytes(lines)
    file = entry("file", "file-1").model_copy(update={"blob": blob})
    made_archive(tmp_path / "acme", entry("batch", "batch_1", input_file_id="file-1"), file)
    words = ("--archive", str(tmp_path / "acme"), "--deployment", "mini", "--temperature", "1")
    with playing(topic_of) as stub:
        done = command(tmp_path, MODEL, *words, "--budget-dollars", "1", "--json", url=stub.url)
        [one] = told(done)
        two = command(tmp_path, MODEL, "ft:b", *words, url=stub.url)
        name_models(tmp_path, stub, "new")
        environment = {"SELFTUNE_HOME": str(tmp_path), "OPENAI_BASE_URL": stub.url, **SECRETS}
        proof = ["rescue", "prove", MODEL, "--replacement", "new", "--no-base", "--also", "mini"]
        before = len(stub.bodies)
        CliRunner().invoke(app, [*proof, "--json"], env=environment)
    assert {body["model"] for body in stub.bodies[:before]} == {"mini"}
    assert (one["model"], one["prompts"], one["unanswered"]) == (MODEL, 3, 0)
    assert one["dollars"] > 0  # by the model's price: nobody knows the deployment's
    assert isinstance(two.exception, InvalidInput)
    assert {body["model"] for body in stub.bodies[before:]} == {"new"}
