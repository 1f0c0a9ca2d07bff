"""From an eval file to a round: what is asked, what is kept, and what the same command does again."""

import json
import resource
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher

from selftune.core import errors
from selftune.core.settings import child_environment, load_settings
from selftune.evaluate.evalfile import EvalFile, load_eval_file
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result, read_results
from selftune.evaluate.rounds import RoundFolder, find_round, list_rounds
from selftune.prove.home import Home
from selftune.prove.plan import plan_of, with_models
from selftune.prove.round import run_round

EVAL = """
name = "Capital cities: Ünïcode / ../../etc"
[data]
file = "items.jsonl"
[[models]]
name = "wise"
model = "wise"
base_url = "{url}"
[evaluation]
prompt = "Say {{{{ item.word }}}}"
category = "kind"
[[evaluation.graders]]
type = "string_check"
operation = "eq"
reference = "{{{{ item.word }}}}"
[limits]
concurrency = 4
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(load_settings(home=tmp_path / "home"))


@pytest.fixture
def teacher(teacher: Teacher) -> Teacher:
    teacher.reply = lambda body: str(body["messages"][-1]["content"]).removeprefix("Say ")
    return teacher


def written(folder: Path, text: str, rows: list[object] | None = None) -> EvalFile:
    if rows is None:
        rows = [{"word": f"w{n}", "kind": "ab"[n % 2]} for n in range(20)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "items.jsonl").write_text(lines, encoding="utf-8")
    (folder / "eval.toml").write_text(text, encoding="utf-8")
    return load_eval_file(folder / "eval.toml")


def ran(home: Home, spec: EvalFile, folder: Path) -> RoundFolder:
    return run_round(home, plan_of(spec, folder, home))


def results(folder: RoundFolder) -> list[Result]:
    return sorted(read_results(folder.results), key=lambda each: (each.index, each.arm))


def test_a_round_is_kept_whole(home: Home, teacher: Teacher, tmp_path: Path) -> None:
    folder = ran(home, written(tmp_path, EVAL.format(url=teacher.url)), tmp_path)
    found = folder.read()
    assert (found.status, found.items, found.totals.asked) == ("completed", 20, 20)
    assert found.arms[0].place == teacher.url
    assert folder.path.is_relative_to(tmp_path / "home" / "evals" / "capital-cities-n-code-etc")
    items = list(folder.read_items())
    assert items[0].messages == ({"role": "user", "content": "Say w0"},)
    assert {item.category for item in items} == {"a", "b"}
    assert all(result.passed for result in results(folder))
    assert [result.item for result in results(folder)] == [item.id for item in items]
    [first, *_] = results(folder)
    assert first.usage is not None
    assert first.timing is not None
    assert first.timing.answering > 0


def test_the_same_again_is_a_new_round_that_asks_nothing(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    spec = written(tmp_path, EVAL.format(url=teacher.url))
    first = ran(home, spec, tmp_path)
    again = ran(home, spec, tmp_path)
    assert first.path != again.path
    assert len(teacher.requests) == 20
    assert again.read().totals.reused == 20
    assert [r.item for r in list_rounds(first.path.parents[1])[-1].read_items()]
    assert find_round(home.settings.root, spec.name).path == again.path


def test_other_graders_judge_the_same_answers(home: Home, teacher: Teacher, tmp_path: Path) -> None:
    text = EVAL.format(url=teacher.url)
    ran(home, written(tmp_path, text), tmp_path)
    changed = text.replace('operation = "eq"', 'operation = "ne"')
    folder = ran(home, written(tmp_path, changed), tmp_path)
    assert len(teacher.requests) == 20
    assert not any(result.passed for result in results(folder))


def test_what_ended_a_round_is_kept_and_the_same_command_goes_on(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    spec = written(tmp_path, EVAL.format(url=teacher.url))
    teacher.faults = [""] * 7 + ["401"] * 20
    with pytest.raises(errors.AuthenticationFailed):
        ran(home, spec, tmp_path)
    [stopped] = list_rounds(next((tmp_path / "home" / "evals").iterdir()))
    assert stopped.read().status == "stopped"
    assert "OPENAI_API_KEY" in stopped.read().reason
    teacher.faults = []
    folder = ran(home, spec, tmp_path)
    assert folder.path == stopped.path
    found = folder.read()
    assert (found.status, found.reason, len(results(folder))) == ("completed", "", 20)
    assert max(teacher.paid.values()) == 1
    assert len(teacher.paid) == 20


def test_another_plan_does_not_go_on_with_a_stopped_round(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    spec = written(tmp_path, EVAL.format(url=teacher.url))
    teacher.faults = ["401"] * 30
    with pytest.raises(errors.AuthenticationFailed):
        ran(home, spec, tmp_path)
    teacher.faults = []
    more = with_models(spec, ["wiser"], teacher.url)
    folder = ran(home, more, tmp_path)
    assert len(list_rounds(folder.path.parents[1])) == 2
    assert Counter(r.arm for r in results(folder)) == {"wise": 20, "wiser": 20}


def test_examples_stand_before_the_questions(home: Home, teacher: Teacher, tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "left out"},
        {"role": "user", "content": "Say hi"},
        {"role": "assistant", "content": "hi"},
    ]
    (tmp_path / "train.jsonl").write_text(
        "\n".join(json.dumps({"messages": chat}) for _ in range(5)), encoding="utf-8"
    )
    more = '\nexamples = "train.jsonl"\nn_examples = 2\nsystem = "Be brief."\n[evaluation]\n'
    text = EVAL.format(url=teacher.url).replace("\n[evaluation]\n", more)
    folder = ran(home, written(tmp_path, text), tmp_path)
    roles = [message["role"] for message in teacher.requests[0]["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert folder.read().arms[0].note == "2 examples before each question"


def test_answers_in_the_data_are_graded_without_a_model(home: Home, tmp_path: Path) -> None:
    text = EVAL[: EVAL.index("[[models]]")] + EVAL[EVAL.index("[evaluation]") :]
    rows: list[object] = [
        {"item": {"word": "a", "kind": "x"}, "sample": {"output_text": "a"}},
        {"item": {"word": "b", "kind": "x"}, "sample": "c"},
    ]
    folder = ran(home, written(tmp_path, text.format(), rows), tmp_path)
    assert [result.passed for result in results(folder)] == [True, False]
    assert folder.read().arms[0].name == "given"


@pytest.mark.parametrize(
    ("rows", "change", "words"),
    [
        ([], {}, "no rows"),
        ([{"kind": "x"}], {}, "word"),
        ([{"word": "a", "kind": "x"}, {"kind": "x"}], {}, "Test row 2: .*word"),
        ([{"word": "a", "kind": "x"}], {"prompt =": 'weight = "kind"\nprompt ='}, "'x' points"),
        ([{"word": "a", "kind": -1}], {"prompt =": 'weight = "kind"\nprompt ='}, "from 0 on"),
        ([{"word": "a", "kind": "inf"}], {"prompt =": 'weight = "kind"\nprompt ='}, "from 0 on"),
        ([{"kind": "x", "messages": ["text"]}], {}, "Test row 1: each of 'messages'"),
        ([{"kind": "x", "messages": []}], {}, "without a question"),
        ([{"word": "a"}], {}, "no field 'kind'"),
        (["text"], {}, "line 1"),
        ([{"word": "a", "kind": "x"}], {"items.jsonl": "nowhere.jsonl"}, "nowhere.jsonl"),
        ([{"word": "a", "kind": "x"}], {"string_check": "sting_check"}, "sting_check"),
        ([{"word": "a", "kind": "x"}], {"[[models]]": '[[models]]\nmodel="m"\n[[models]]'}, None),
        (
            [{"word": "a", "kind": "x"}],
            {"[[models]]": '[[models]]\nname="wise"\nmodel="selftune/minilm"\n[[models]]'},
            "Two models are called 'wise'",
        ),
        (
            [{"word": "a", "kind": "x"}, {"word": "b", "kind": "x"}],
            {'category = "kind"': 'id = "kind"'},
            "named 'x' as an earlier one",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_before_anybody_is_asked(
    home: Home,
    teacher: Teacher,
    tmp_path: Path,
    rows: list[object],
    change: dict[str, str],
    words: str | None,
) -> None:
    text = EVAL.format(url=teacher.url)
    for old, new in change.items():
        text = text.replace(old, new, 1)
    with pytest.raises(errors.SelftuneError, match=words):
        ran(home, written(tmp_path, text, rows), tmp_path)
    assert teacher.requests == []


def test_rows_that_are_alike_stay_apart(home: Home, teacher: Teacher, tmp_path: Path) -> None:
    rows: list[object] = [{"word": "a", "kind": "x"}] * 3
    folder = ran(home, written(tmp_path, EVAL.format(url=teacher.url), rows), tmp_path)
    ids = [item.id for item in folder.read_items()]
    assert len(set(ids)) == 3
    assert {result.item for result in results(folder)} == set(ids)


def test_a_model_of_this_machine_is_asked_anew_in_each_round(home: Home, tmp_path: Path) -> None:
    local = 'model = "selftune/fake"\n[evaluation]'
    text = EVAL[: EVAL.index("model =")] + local + EVAL[EVAL.index("[evaluation]") + 12 :]
    spec = written(tmp_path, text.format())
    first, again = ran(home, spec, tmp_path), ran(home, spec, tmp_path)
    assert first.read().totals.asked == again.read().totals.asked == 20
    assert first.read().arms[0].place is None
    assert first.read().totals.dollars == 0


def test_endpoints_of_the_home_folder_say_where_a_model_answers(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    home.settings.root.mkdir()
    (home.settings.root / "endpoints.toml").write_text(
        f'[[endpoint]]\nmodels = ["wis*"]\nbase_url = "{teacher.url}"\n', encoding="utf-8"
    )
    text = EVAL.replace('base_url = "{url}"\n', "").format()
    folder = ran(home, written(tmp_path, text), tmp_path)
    assert folder.read().arms[0].place == teacher.url
    assert len(teacher.requests) == 20


def test_two_processes_cannot_run_one_eval(home: Home, teacher: Teacher, tmp_path: Path) -> None:
    spec = written(tmp_path, EVAL.format(url=teacher.url))

    def items() -> Iterator[Item]:
        with pytest.raises(errors.Conflict, match="Another process"):
            ran(home, spec, tmp_path)
        yield Item(
            index=1, id="a", item={"word": "a"}, messages=({"role": "user", "content": "a"},)
        )

    folder = run_round(home, replace(plan_of(spec, tmp_path, home), items=items()))
    assert folder.read().status == "completed"


COMMAND = (sys.executable, "-m", "selftune", "eval", "run", "eval.toml")


def test_a_round_of_a_killed_process_is_stopped(teacher: Teacher, tmp_path: Path) -> None:
    spec = written(tmp_path, EVAL.format(url=teacher.url))
    home = Home(load_settings(home=tmp_path / "home"))
    teacher.delay_seconds = 0.1
    environment = child_environment(home.settings)
    with subprocess.Popen(COMMAND, cwd=tmp_path, env=environment) as run:
        while not teacher.paid:
            assert run.poll() is None
            time.sleep(0.005)
        [killed] = list_rounds(next((tmp_path / "home" / "evals").iterdir()))
        assert killed.read().status == "running"
        run.kill()
    assert (killed.read().status, killed.read().reason) == ("stopped", "Its process was ended.")
    other = ran(home, with_models(spec, ["wiser"], teacher.url), tmp_path)
    assert other.path != killed.path
    assert json.loads(killed.record.read_bytes())["status"] == "stopped"


def test_ctrl_c_lets_what_is_on_its_way_arrive(teacher: Teacher, tmp_path: Path) -> None:
    written(tmp_path, EVAL.format(url=teacher.url))
    teacher.delay_seconds = 0.2
    environment = child_environment(load_settings(home=tmp_path / "home"))
    with subprocess.Popen(COMMAND, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as run:
        while not teacher.paid:
            assert run.poll() is None
            time.sleep(0.005)
        run.send_signal(signal.SIGINT)
        _, told = run.communicate()
    assert run.returncode == 130
    assert b"Traceback" not in told
    [folder] = list_rounds(next((tmp_path / "home" / "evals").iterdir()))
    stopped = folder.read()
    assert (stopped.status, stopped.reason) == ("stopped", "It was interrupted.")
    assert stopped.totals.asked == len(results(folder)) == len(teacher.requests) < 20
    assert subprocess.run(COMMAND, cwd=tmp_path, env=environment, check=False).returncode == 0
    assert len(teacher.requests) == 20
    assert (folder.read().totals.asked, folder.read().status) == (20, "completed")


@pytest.mark.parametrize("most_bytes", [1_000, 6_000])
def test_a_full_disk_is_said_in_words_and_loses_nothing(
    teacher: Teacher, tmp_path: Path, most_bytes: int
) -> None:
    written(tmp_path, EVAL.format(url=teacher.url))
    environment = child_environment(load_settings(home=tmp_path / "home"))
    full = subprocess.run(
        COMMAND,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )
    assert full.returncode == 3
    assert "Traceback" not in full.stderr
    assert "run the same again" in full.stderr.replace("\n", " ")
    [folder] = (tmp_path / "home" / "evals").iterdir()
    assert not list(folder.glob("*.partial"))
    assert {each.read().status for each in list_rounds(folder)} <= {"stopped"}
    kept = len((folder / "responses.jsonl").read_bytes().splitlines())
    asked = len(teacher.requests)
    assert subprocess.run(COMMAND, cwd=tmp_path, env=environment, check=False).returncode == 0
    assert len(teacher.requests) == asked + 20 - kept


def test_a_damaged_round_keeps_no_new_one_from_being_made(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    spec = written(tmp_path, EVAL.format(url=teacher.url))
    first = ran(home, spec, tmp_path)
    first.record.write_bytes(b"")
    again = ran(home, spec, tmp_path)
    assert (again.read().number, again.read().totals.reused) == (2, 20)
    with pytest.raises(errors.InvalidInput, match="is damaged"):  # it may be the last finished one
        find_round(home.settings.root, spec.name)


def test_questions_and_answers_are_for_their_owner_alone(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    folder = ran(home, written(tmp_path, EVAL.format(url=teacher.url)), tmp_path)
    for private in (home.settings.root, folder.path.parents[1]):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_question_is_not_asked_of_a_model_that_was_shown_its_answer(
    home: Home, teacher: Teacher, tmp_path: Path
) -> None:
    chat = [{"role": "user", "content": "Say w3"}, {"role": "assistant", "content": "w3"}]
    (tmp_path / "shown.jsonl").write_text(json.dumps({"messages": chat}), encoding="utf-8")
    text = EVAL.replace('model = "wise"', 'model = "wise"\nexamples = "shown.jsonl"')
    with pytest.raises(errors.InvalidInput, match="Test row 4 is among the examples of 'wise'"):
        ran(home, written(tmp_path, text.format(url=teacher.url)), tmp_path)
    assert teacher.requests == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({'operation = "eq"': 'operation = "equal"'}, errors.InvalidInput),
        ({'model = "wise"\nbase_url = "{url}"': 'model = "ft:none:of:these"'}, errors.NotFound),
    ],
)
def test_what_is_refused_leaves_no_round(
    home: Home, tmp_path: Path, change: dict[str, str], error: type[Exception]
) -> None:
    text = EVAL
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(error):
        ran(home, written(tmp_path, text.format(url="http://127.0.0.1:9/v1")), tmp_path)
    assert not (home.settings.root / "evals").exists()


def test_a_killed_run_goes_on_and_loses_no_answer(teacher: Teacher, tmp_path: Path) -> None:
    rows: list[object] = [{"word": f"w{n}", "kind": "x"} for n in range(120)]
    written(tmp_path, EVAL.format(url=teacher.url), rows)
    teacher.delay_seconds = 0.02
    command = [sys.executable, "-m", "selftune", "eval", "run", "eval.toml", "--json"]
    environment = child_environment(load_settings(home=tmp_path / "home"))
    for answered in (30, 70):
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
        ) as run:
            while len(teacher.paid) < answered:
                assert run.poll() is None
                time.sleep(0.005)
            run.kill()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = find_round(tmp_path / "home", json.loads(done.stdout)["round"]["id"])
    assert len(results(folder)) == 120
    assert set(teacher.paid.values()) == {1}
    on_their_way = 2 * 4  # two kills, with four questions on their way at each
    assert len(teacher.requests) <= 120 + on_their_way


def test_how_a_run_ended_is_its_exit_status(teacher: Teacher, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "selftune", "eval", "run", "eval.toml"]
    environment = child_environment(load_settings(home=tmp_path / "home"))

    def status(text: str, *options: str) -> tuple[int, str]:
        (tmp_path / "eval.toml").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    text = EVAL.format(url=teacher.url)
    written(tmp_path, text)
    assert status(text, "--fail-under", "0.9")[0] == 0
    teacher.reply = lambda body: "wrong"
    assert status(text, "--fail-under", "0.9", "--fresh")[0] == 1
    asked = len(teacher.requests)
    for wrong, words in (
        (("--baseline", "nobody"), "no model 'nobody'"),
        (("--gated", "nobody"), "no model 'nobody'"),
        (("--no-worse-than", "no-such-round"), "No round 'no-such-round'"),
        (("--fail-under", "80"), "--fail-under"),
        (("--margin", "0"), "--margin"),
    ):
        code, told = status(text, "--fresh", *wrong)
        assert (code, words in told) == (2, True), told
    assert len(teacher.requests) == asked  # what could not be judged is not paid for
    code, told = status(text, "--junit", "eval.toml/results.xml")
    assert (code, "cannot be written" in told) == (2, True), told
    code, words = status(text.replace("[data]", "[dada]"))
    assert code == 2
    assert "dada: is not a known key" in words
    teacher.faults = ["401"] * 20
    code, words = status(text, "--fresh")
    assert code == 3
    assert "OPENAI_API_KEY" in words
    teacher.faults = []
    assert status(text, "--fresh", "--budget-tokens", "200")[0] == 3
