"""Answers that were kept before, by whatever tool: a recording without a request."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.made_tasks import questions, write_rows
from tests.rescue.archives import bring
from tests.rescue.beside import entry, made_archive
from tests.rescue.stand_in import StandIn
from tests.wire.model_stub import ModelStub, name_models, playing
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.core.errors import InvalidInput
from selftune.rescue.record.answers import answers_in_archive, answers_in_files
from selftune.rescue.record.recordings import answers_of, find_recording
from selftune.rescue.record.requests import Row

MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support:AbCd1234"
TOPICS = {each.text: each.topic for part in questions() for each in part}
NOBODY = "http://127.0.0.1:9/v1"
CALL = {"name": "refund", "arguments": '{"order": 7}'}


def command(home: Path, *words: str, url: str = NOBODY) -> Result:
    environment = {"SELFTUNE_HOME": str(home), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-test"}
    return CliRunner().invoke(app, ["rescue", *words], env=environment)


def recorded(home: Path, *words: str) -> dict[str, Any]:
    done = command(home, "record", MODEL, *words, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    [found] = json.loads(done.stdout)
    return dict(found)


def asked(text: str = "a", **more: Any) -> Row:
    return {"messages": [{"role": "user", "content": text}], **more}


def completion(*texts: str, **more: Any) -> Row:
    choices = [{"message": {"role": "assistant", "content": text}} for text in texts]
    return {"object": "chat.completion", "model": MODEL, "choices": choices, **more}


def logs(count: int, *temperatures: float) -> list[Row]:
    """Return questions, each answered at each temperature."""
    return [
        {"request": asked(each.text, temperature=heat), "response": completion(each.topic)}
        for each in questions()[1][:count]
        for heat in temperatures
    ]


SHAPES: dict[str, tuple[Row, str]] = {
    "a log of a proxy": ({"request": asked(model=MODEL), "response": completion("b")}, "b"),
    "a chat beside its answer": (asked(response="b"), "b"),
    "texts": ({"prompt": "a", "output": "b"}, "b"),
    "another word for it": ({"input": "a", "answer": {"role": "assistant", "content": "b"}}, "b"),
    "a stored completion": (asked(**completion("b")), "b"),
    "choices alone": ({"body": asked(), "choices": completion("b")["choices"]}, "b"),
    "a text completion": ({"prompt": "a", "completion": {"choices": [{"text": "b"}]}}, "b"),
    "a response": (
        {
            "request": {"model": MODEL, "input": "a", "instructions": "Be brief."},
            "response": {"output": [{"type": "message", "content": [{"text": "b"}]}]},
        },
        "b",
    ),
    "a response with its input": (
        {"input": "a", "model": MODEL, "output": [{"type": "function_call", "call_id": "c", **CALL}]},
        'refund {"order": 7}',
    ),
    "an older call": (asked(response={"role": "assistant", "function_call": CALL}), 'refund {"order": 7}'),
    "an item of an eval": (
        {"sample": {"input": asked()["messages"], "output": [{"role": "assistant", "content": "b"}]}},
        "b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_request_and_its_answer_are_found_in_rows_of_all_shapes(
    name: str, tmp_path: Path
) -> None:
    row, text = SHAPES[name]
    file = write_rows(tmp_path / "log.jsonl", [row])
    found = answers_in_files([file], [MODEL], alone=True)
    [exchange] = found.exchanges
    assert exchange.prompt.messages[-1] == {"role": "user", "content": "a"}
    recorded(tmp_path / "home", "--answers", str(file))
    [kept] = answers_of(find_recording(tmp_path / "home", MODEL).usual).values()
    assert [each.said for each in kept] == [text]


def test_the_answer_says_who_answered_before_the_request_does(tmp_path: Path) -> None:
    other = {**completion("b"), "model": "gpt-4o"}
    rows = [
        {"request": asked(model=MODEL), "response": other},  # the request went on to another
        {"request": asked(model="router"), "response": completion("b")},
        {"request": asked(model="mini"), "response": other},
    ]
    file = write_rows(tmp_path / "log.jsonl", rows)
    for names, count in (([MODEL], 1), ([MODEL, "mini"], 2)):
        found = answers_in_files([file], names, alone=True)
        assert len(found.exchanges) == count
        assert found.left_out == {"log.jsonl: another model's answer": 3 - count}


def test_the_same_answer_from_two_places_counts_once(tmp_path: Path) -> None:
    log = {"request": asked(model=MODEL), "response": completion("b", id="chatcmpl-1")}
    kept = asked(**completion("b", id="chatcmpl-1"))
    (tmp_path / "logs").mkdir()
    first = write_rows(tmp_path / "logs" / "a.jsonl", [log])
    second = write_rows(tmp_path / "logs" / "b.jsonl", [kept])
    words = [word for path in (first, tmp_path / "logs", second) for word in ("--answers", path)]
    one = recorded(tmp_path / "home", *map(str, words))
    assert (one["prompts"], one["repeats"], len(one["rounds"])) == (1, 1, 1)


def test_what_is_no_number_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    row = {"request": asked(model=MODEL, temperature=-1), "response": "b", "latency_ms": 0}
    for wrong in ("NaN", "1e999", "-5", f"1{'0' * 400}"):
        text = json.dumps(row).replace('"latency_ms": 0', f'"latency_ms": {wrong}')
        path.write_text(text.replace(": -1", f": {wrong}"), encoding="utf-8")
        [exchange] = answers_in_files([path], [MODEL], alone=False).exchanges
        assert (exchange.prompt.temperature, exchange.answers[0].timing) == (None, None)


def test_what_is_no_exchange_is_counted_by_reason(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    (folder / "runs").mkdir(parents=True)
    write_rows(folder / "runs" / "a.jsonl", [
        asked(response="b"),
        {"settings": 1},
        asked(),
        {"request": asked(model="gpt-4o"), "response": "b"},
        {"custom_id": "x", "response": {"status_code": 200, "body": completion("b")}},
        {"request": {"model": "m", "input": "a", "previous_response_id": "resp_1"}, "response": "b"},
    ])  # fmt: skip
    (folder / "manifest.json").write_text('{"version": 1,\n "made": "today"}', encoding="utf-8")
    (folder / "broken.jsonl").write_text('{"a"\n', encoding="utf-8")
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    (folder / "link.jsonl").symlink_to(folder / "runs" / "a.jsonl")
    (folder / "elsewhere").symlink_to(tmp_path)
    found = answers_in_files([folder], [MODEL], alone=True)
    assert len(found.exchanges) == 1
    assert found.left_out == {
        "elsewhere: a link, which is not followed": 1,
        "link.jsonl: a link, which is not followed": 1,
        "notes.txt: neither .json nor .jsonl": 1,
        "broken.jsonl: it is no row of JSON": 1,
        "manifest.json: no request": 1,
        "runs/a.jsonl: no request": 2,
        "runs/a.jsonl: no answer beside the request": 1,
        "runs/a.jsonl: another model's answer": 1,
        "runs/a.jsonl: no request has the custom_id of an answer": 1,
    }
    with pytest.raises(InvalidInput, match="is not there"):
        answers_in_files([tmp_path / "none"], [MODEL], alone=True)


def test_answers_of_a_batch_find_their_requests(tmp_path: Path) -> None:
    lines = [{"custom_id": f"r{at}", "body": asked(f"q{at}", model=MODEL)} for at in range(3)]
    ends = [
        {"custom_id": "r1", "response": {"status_code": 200, "body": completion("one")}},
        {"custom_id": "r0", "response": {"status_code": 200, "body": completion("zero")}},
        {"custom_id": "r2", "response": {"status_code": 500, "body": {"error": {}}}},
    ]
    write_rows(tmp_path / "in.jsonl", lines)
    write_rows(tmp_path / "out.jsonl", ends)
    found = answers_in_files([tmp_path], [MODEL], alone=False)
    told = {each.prompt.messages[0]["content"]: each.answers[0].text for each in found.exchanges}
    assert told == {"q0": "zero", "q1": "one"}
    assert found.left_out == {"out.jsonl: no answer beside the request": 1}


def test_answers_become_both_rounds_with_all_that_is_told_of_them(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    token = {"token": "x", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    rows = logs(4, 0.7, 0.0, 0.7)
    for row in rows:
        row["response"]["usage"] = usage
        row["response"]["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
        row["latency_ms"] = 250
    file = write_rows(tmp_path / "log.jsonl", rows)
    one = recorded(tmp_path / "home", "--answers", str(file), "--budget-requests", "1")
    assert one["rounds"] == recorded(tmp_path / "home", "--answers", str(file))["rounds"]
    assert (one["prompts"], one["repeats"], one["temperature"]) == (4, 2, 0.7)
    assert (one["imported_from"], one["with_logprobs"], one["dollars"]) == ("log.jsonl", 4, 0.0)
    found = find_recording(tmp_path / "home", MODEL)
    assert found.steady is not None
    assert {len(each) for each in answers_of(found.steady).values()} == {1}
    assert found.steady.read().facts["temperature"] == "0"
    [first, _] = next(iter(answers_of(found.usual).values()))
    assert first.usage is not None
    assert (first.usage.prompt_tokens, first.timing and first.timing.answering) == (9, 0.25)


def test_rows_that_a_model_was_trained_on_are_left_out_of_its_answers(tmp_path: Path) -> None:
    rows = logs(6, 0.7)
    shown = [{"messages": row["request"]["messages"]} for row in rows[:2]]
    training = write_rows(tmp_path / "training.jsonl", shown)
    file = write_rows(tmp_path / "log.jsonl", rows)
    one = recorded(tmp_path / "home", "--answers", str(file), "--training", str(training))
    assert one["prompts"] == 4


def test_a_second_import_is_not_compared_with_the_first(tmp_path: Path) -> None:
    for temperatures in ((0.7, 0.7), (0.7,)):
        file = write_rows(tmp_path / "log.jsonl", logs(3, *temperatures))
        recorded(tmp_path / "home", "--answers", str(file))
        steady = find_recording(tmp_path / "home", MODEL).steady
        assert (steady is None) == (len(temperatures) == 1)


@pytest.mark.parametrize(
    ("many", "single", "prompts", "repeats"), [(9, 1, 9, 2), (3, 9, 12, 1), (4, 0, 4, 2)]
)
def test_prompts_with_few_answers_go_where_the_others_then_tell_more(
    tmp_path: Path, many: int, single: int, prompts: int, repeats: int
) -> None:
    rows = [*logs(many, 0.0, 0.7, 0.7), *logs(many + single, 0.7)[many:]]
    file = write_rows(tmp_path / "log.jsonl", rows)
    one = recorded(tmp_path / "home", "--answers", str(file))
    assert (one["prompts"], one["repeats"]) == (prompts, repeats)


@pytest.fixture
def replacement(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelStub]:
    monkeypatch.setattr("selftune.prove.home.Home.embed", lambda self, texts: [[1.0]] * len(texts))
    good = json.dumps({"explanation": "fine", "score": 5})

    def rule(body: dict[str, Any]) -> str:
        return good if body["model"] == "judge" else TOPICS[str(body["messages"][-1]["content"])]

    with playing(rule) as stub:
        yield stub


def proven(home: Path, stub: ModelStub, *words: str) -> dict[str, Any]:
    name_models(home, stub, "new", "judge")
    done = command(home, "prove", MODEL, "--replacement", "new", "--no-base", "--json", *words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return dict(json.loads(done.stdout))


def test_a_model_that_is_gone_is_proven_against_its_answers(
    tmp_path: Path, replacement: ModelStub
) -> None:
    file = write_rows(tmp_path / "log.jsonl", logs(30, 0.0, 0.7, 0.7))
    recorded(tmp_path / "home", "--answers", str(file))
    found = proven(tmp_path / "home", replacement, "--margin", "0.2")
    assert found["conclusion"]["outcome"] == "switch"
    assert found["noise"]["moves"] == 0
    assert any("imported from log.jsonl: 2 to each prompt" in note for note in found["notes"])
    assert all(body["model"] == "new" for body in replacement.bodies)


def test_one_answer_to_each_prompt_proves_nothing_by_itself(
    tmp_path: Path, replacement: ModelStub
) -> None:
    file = write_rows(tmp_path / "log.jsonl", logs(30, 0.7))
    recorded(tmp_path / "home", "--answers", str(file))
    found = proven(tmp_path / "home", replacement, "--margin", "0.2")
    assert found["conclusion"]["outcome"] == "cannot tell"
    assert "judged by itself" in found["conclusion"]["words"]
    assert any("noise is not known" in reason for reason in found["conclusion"]["reasons"])
    [only] = found["alike"]
    assert (only["arm"], only["same"]["value"]) == ("replacement", 1.0)
    graders = tmp_path / "graders.toml"
    graders.write_text('[[graders]]\ntype = "regex"\npattern = "^[a-z]+$"\n', encoding="utf-8")
    judged = proven(tmp_path / "home", replacement, "--margin", "0.2", "--graders", str(graders))
    assert judged["conclusion"]["outcome"] == "switch"


def test_an_answer_is_not_compared_with_itself_among_others(
    tmp_path: Path, replacement: ModelStub
) -> None:
    rows = [*logs(30, 0.7, 0.7), *logs(40, 0.7)[30:]]
    file = write_rows(tmp_path / "log.jsonl", rows)
    recorded(tmp_path / "home", "--answers", str(file))
    found = proven(tmp_path / "home", replacement, "--margin", "0.2")
    assert any("10 prompts are left out" in note for note in found["notes"])
    assert found["report"]["arms"][0]["summary"]["accuracy"]["n"] == 30
    assert found["measure"] == "the answer is the one that was recorded first"
    graders = tmp_path / "graders.toml"
    graders.write_text('[[graders]]\ntype = "regex"\npattern = "^[a-z]+$"\n', encoding="utf-8")
    words = ("--margin", "0.2", "--graders", str(graders), "--judge", "judge")
    judged = proven(tmp_path / "home", replacement, *words)
    told = {each["arm"]: each["judged"]["n"] for each in judged["alike"]}
    assert told == {"recorded": 30, "replacement": 40}


def test_an_archive_has_answers_of_models_that_are_gone(account: StandIn, tmp_path: Path) -> None:
    bring(account, tmp_path / "acme")
    model = account.account.models[0]
    before = account.app.asked.copy()
    words = ("record", model, "--archive", str(tmp_path / "acme"), "--archived-answers", "--json")
    done = command(tmp_path / "home", *words)
    assert done.exit_code == 0, done.output
    [one] = json.loads(done.stdout)
    assert (one["imported_from"], one["temperature"]) == ("the archive", 0.7)
    assert one["prompts"] >= 10
    assert account.app.asked == before
    kept = answers_of(find_recording(tmp_path / "home", model).usual)
    assert all("fernhill" in each.said or "know" in each.said for [each, *_] in kept.values())


def test_archived_batches_are_joined_each_by_itself(tmp_path: Path) -> None:
    entries = []
    for at in (1, 2):  # both name their lines alike
        names = {
            "input_file_id": [{"custom_id": "r", "body": asked(f"q{at}", model=MODEL)}],
            "output_file_id": [{"custom_id": "r", "response": {"body": completion(f"a{at}")}}],
        }
        entries.append(entry("batch", f"batch_{at}", **{name: f"{name}{at}" for name in names}))
        for name, rows in names.items():
            content = json.dumps(rows[0]).encode() + b"\n"
            blob = sha256(content).hexdigest()
            path = tmp_path / "acme" / "blobs" / blob[:2] / blob
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            entries.append(entry("file", f"{name}{at}").model_copy(update={"blob": blob}))
    archive = made_archive(tmp_path / "acme", *entries)
    found = answers_in_archive(archive, [MODEL])
    told = {each.prompt.messages[0]["content"]: each.answers[0].text for each in found.exchanges}
    assert told == {"q1": "a1", "q2": "a2"}


def test_answers_and_prompts_to_ask_are_not_mixed(tmp_path: Path) -> None:
    file = str(write_rows(tmp_path / "log.jsonl", logs(2, 0.7)))
    for words in (("--answers", file, "--prompts", file), ("--archived-answers",)):
        done = command(tmp_path / "home", "record", MODEL, *words)
        assert isinstance(done.exception, InvalidInput)
    nothing = command(tmp_path / "home", "record", "ft:other", "--answers", file)
    assert isinstance(nothing.exception, InvalidInput)
    assert "no answer of ft:other" in nothing.exception.message
